import { Alert, Box, Button, Chip, Paper, Typography } from '@mui/material';
import SectionBox from 'headlamp/components/common/SectionBox';
import { JobProgress, ProblemAlert } from '../Job';
import { useText } from '../i18n';
import { useCluster } from '../current';
import { useAsk, useListed } from './listed';
import { Addon } from './progress';

export default function Addons() {
  const t = useText();
  const { job } = useCluster();
  const { list, problem } = useListed<Addon>('/skiff/addons');
  const [refused, send] = useAsk();
  const running = job && !job.ended ? job : undefined;
  return (
    <SectionBox title={t('Addons')}>
      <Typography sx={{ mb: 2 }}>{t('Parts that many clusters want, from the catalog that comes with skiff. They need no network.')}</Typography>
      {list?.length === 0 && <Alert severity="info">{t('The catalog is empty.')}</Alert>}
      <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fill, minmax(320px, 1fr))' }}>
        {list?.map(addon => {
          const own = running?.about === addon.Name && (running.what === 'enable' || running.what === 'disable') ? running : undefined;
          return (
            <Paper key={addon.Name} variant="outlined" component="section" aria-label={addon.Name} sx={{ p: 2, display: 'flex', flexDirection: 'column', gap: 1 }}>
              <Box sx={{ display: 'flex', alignItems: 'center' }}>
                <Typography component="h2" variant="h6" sx={{ flex: 1 }}>
                  {addon.Name}
                </Typography>
                <Chip size="small" variant="outlined" color={addon.Enabled ? 'success' : 'default'} label={addon.Enabled ? t('Enabled') : t('Disabled')} sx={{ color: 'text.primary' }} />
              </Box>
              <Typography sx={{ flex: 1 }}>{addon.Description}</Typography>
              {own ? (
                <JobProgress job={own} />
              ) : (
                <Button variant={addon.Enabled ? 'outlined' : 'contained'} disabled={running !== undefined} onClick={() => void send('POST', `/skiff/addons/${addon.Name}/${addon.Enabled ? 'disable' : 'enable'}`)} sx={{ alignSelf: 'flex-start' }}>
                  {addon.Enabled ? t('Disable') : t('Enable')}
                </Button>
              )}
            </Paper>
          );
        })}
      </Box>
      {(refused ?? problem) && <ProblemAlert problem={(refused ?? problem)!} />}
      {job?.ended && job.error && (job.what === 'enable' || job.what === 'disable') && <ProblemAlert problem={job.error} />}
    </SectionBox>
  );
}
