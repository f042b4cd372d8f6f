import { Icon } from '@iconify/react';
import { Box, Button } from '@mui/material';
import { useEffect, useState } from 'react';
import { useCluster } from './current';
import { useText } from './i18n';
import { JobProgress, ProblemAlert } from './Job';
import { useAsk, useListed } from './pages/listed';
import { Addon } from './pages/progress';

const name = 'metrics-server';

/** Offers to enable the addon that measures, where the catalog has it and nothing else in the cluster measures. */
export function EnableMetrics() {
  const t = useText();
  const { profile, job } = useCluster();
  const { list } = useListed<Addon>('/skiff/addons');
  const [refused, send] = useAsk();
  const addon = list?.find(one => one.Name === name && !one.Enabled);
  const absent = useAbsent(addon && `/clusters/${profile}/apis/metrics.k8s.io`);
  if (!addon || !absent) return null;
  const running = job && !job.ended ? job : undefined;
  const own = job?.about === name && job.what === 'enable' ? job : undefined;
  const problem = refused ?? own?.error;
  return (
    <Box component="span" sx={{ display: 'inline-block', verticalAlign: 'middle', ml: 1 }}>
      {own && own === running ? (
        <JobProgress job={own} />
      ) : (
        <Button size="small" variant="outlined" disabled={running !== undefined} startIcon={<Icon icon="mdi:chart-line" />} onClick={() => void send('POST', `/skiff/addons/${name}/enable`)}>
          {t('Enable metrics')}
        </Button>
      )}
      {problem && <ProblemAlert problem={problem} />}
    </Box>
  );
}

/** Whether the API server says that there is nothing at a path. */
function useAbsent(path?: string): boolean {
  const [absent, setAbsent] = useState(false);
  useEffect(() => {
    if (!path) return;
    let ended = false;
    fetch(path)
      .then(answer => {
        if (!ended) setAbsent(answer.status === 404);
      })
      .catch(() => undefined); // the banner says that the API server is away
    return () => {
      ended = true;
    };
  }, [path]);
  return absent;
}
