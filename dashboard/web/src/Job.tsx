import { Alert, AlertTitle, Box, LinearProgress, Typography } from '@mui/material';
import { useText } from './i18n';
import { percent } from './jobs';
import { Job, Problem } from './server';

/** What a job does now, and how far it is. */
export function JobProgress({ job }: { job: Job }) {
  const t = useText();
  const done = percent(job);
  return (
    <Box role="status" sx={{ textAlign: 'left' }}>
      <Typography sx={{ mb: 0.5 }}>
        {job.text || t('It begins')}
        {job.steps ? ` (${job.step}/${job.steps})` : ''}
      </Typography>
      <LinearProgress aria-label={job.text || t('It begins')} variant={done === undefined ? 'indeterminate' : 'determinate'} value={done} />
    </Box>
  );
}

/** A failure: what failed and why, what to do, and the command for it. */
export function ProblemAlert({ problem }: { problem: Problem }) {
  const t = useText();
  return (
    <Alert severity="error" role="alert" sx={{ mt: 2, textAlign: 'left', '& pre': { whiteSpace: 'pre-wrap', m: 0 } }}>
      <AlertTitle sx={{ whiteSpace: 'pre-wrap' }}>{problem.message}</AlertTitle>
      {problem.output && <pre>{problem.output}</pre>}
      {problem.advice && <Typography>{problem.advice}</Typography>}
      {problem.next && (
        <Typography>
          {t('Next:')} <code>{problem.next}</code>
        </Typography>
      )}
    </Alert>
  );
}
