import { Icon } from '@iconify/react';
import { Alert, Box, Button, Typography } from '@mui/material';
import { useState } from 'react';
import { JobProgress, ProblemAlert } from './Job';
import { useText } from './i18n';
import { ask, Phase, Problem, Refused, State } from './server';

interface Words {
  icon: string;
  title: string;
  text: string;
  start?: string;
}

/** What is said of a cluster that has no API server to ask. */
export const words: Record<Exclude<Phase, 'running'>, Words> = {
  stopped: { icon: 'mdi:power-sleep', title: 'The cluster is stopped', text: 'What it was is on the disk. Start brings it back, usually within seconds.', start: 'Start' },
  paused: { icon: 'mdi:pause-circle-outline', title: 'The cluster is paused', text: 'Its memory is in place and it uses no processor. Start lets it continue.', start: 'Start' },
  starting: { icon: 'mdi:rocket-launch-outline', title: 'The cluster is starting', text: 'Its machine runs, and the API server does not answer yet. This page continues by itself.', start: 'Start again' },
  absent: { icon: 'mdi:delete-outline', title: 'The cluster was deleted', text: 'Start makes a new one of the same name, with nothing in it.', start: 'Start a new cluster' },
  broken: { icon: 'mdi:alert-circle-outline', title: 'The cluster cannot be used', text: 'Start repairs what it can.', start: 'Start' },
};

/** The page of a cluster that does not run: it says so, offers to start it, and shows how that goes. */
export function StatePage({ state }: { state: State }) {
  const t = useText();
  const [problem, setProblem] = useState<Problem>();
  const running = state.job && !state.job.ended ? state.job : undefined;
  const failed = state.job?.ended && state.job.what === 'start' ? state.job.error : undefined;
  const say = words[running?.what === 'start' ? 'starting' : (state.phase as Exclude<Phase, 'running'>)] ?? words.broken;
  const start = () => {
    setProblem(undefined);
    ask('POST', '/skiff/start').catch(error => setProblem(error instanceof Refused ? error.problem : { message: String(error) }));
  };
  return (
    <Box sx={{ m: 'auto', p: 4, maxWidth: 640, width: '100%', textAlign: 'center' }}>
      <Box sx={{ fontSize: 72, lineHeight: 1, color: 'primary.main' }}>
        <Icon icon={say.icon} />
      </Box>
      <Typography component="h1" variant="h1" sx={{ my: 1 }}>
        {t(say.title)}
      </Typography>
      <Typography sx={{ mb: 2 }}>{t(say.text)}</Typography>
      {state.note && !running && (
        <Alert severity="info" sx={{ mb: 2, textAlign: 'left' }}>
          {state.note}
        </Alert>
      )}
      {running ? (
        <JobProgress job={running} />
      ) : (
        <Button size="large" variant="contained" onClick={start} startIcon={<Icon icon="mdi:play" />}>
          {t(say.start ?? 'Start')}
        </Button>
      )}
      {(problem ?? failed) && !running && <ProblemAlert problem={(problem ?? failed)!} />}
    </Box>
  );
}
