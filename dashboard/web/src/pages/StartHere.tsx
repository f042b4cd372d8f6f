import { Icon } from '@iconify/react';
import { Box, Button, Link as Anchor, Paper, Typography } from '@mui/material';
import Link from 'headlamp/components/common/Link';
import SectionBox from 'headlamp/components/common/SectionBox';
import Deployment from 'headlamp/lib/k8s/deployment';
import Ingress from 'headlamp/lib/k8s/ingress';
import Service from 'headlamp/lib/k8s/service';
import { ReactNode, useState } from 'react';
import { JobProgress, ProblemAlert } from '../Job';
import { useText } from '../i18n';
import { tell } from '../tell';
import { ask, Problem, Refused } from '../server';
import { useCluster } from '../current';
import { useAsk, useListed } from './listed';
import { example } from './example';
import { Addon, progress } from './progress';

export default function StartHere() {
  const t = useText();
  const { job, address } = useCluster();
  const { list: addons } = useListed<Addon>('/skiff/addons');
  const [deployments] = Deployment.useList();
  const [services] = Service.useList();
  const [ingresses] = Ingress.useList();
  const [refused, send] = useAsk();
  const [problem, setProblem] = useState<Problem>();
  const plain = (list: any[] | null) => list?.map(one => one.jsonData) ?? [];
  const done = progress({ addons: addons ?? [], deployments: plain(deployments), services: plain(services), ingresses: plain(ingresses) });
  const enabling = job && !job.ended && job.what === 'enable' ? job : undefined;
  const url = done.reachable && address ? `https://${address}${done.reachable.path}` : undefined;
  const apply = () => {
    setProblem(undefined);
    ask<{ changes: string[] }>('POST', '/skiff/apply', example).then(
      result => tell([t('Raised to what this cluster serves:'), ...result.changes].join('\n')),
      error => setProblem(error instanceof Refused ? error.problem : { message: String(error) })
    );
  };
  const steps: Array<{ done: boolean; title: string; text: ReactNode; act?: ReactNode }> = [
    {
      done: done.ingress,
      title: t('Enable ingress'),
      text: t('It answers on the address of the cluster, and leads requests to Services by their path.'),
      act: enabling ? <JobProgress job={enabling} /> : <Button variant="contained" onClick={() => void send('POST', '/skiff/addons/ingress/enable')}>{t('Enable')}</Button>,
    },
    {
      done: done.deployed,
      title: t('Apply the manifest of the tutorial'),
      text: t('It is of 2019: skiff raises its API versions and says what it changed. You can also paste it into Create, at the bottom left.'),
      act: <Button variant="contained" onClick={apply}>{t('Apply')}</Button>,
    },
    {
      done: done.ready,
      title: t('See the Pods become Ready'),
      text: <>{t('A Deployment makes a ReplicaSet, and that makes Pods.')} <Link routeName="pods">{t('Pods')}</Link></>,
    },
    {
      done: done.reachable !== undefined && done.ingress && done.ready,
      title: t('Open it in the browser'),
      text: url ? <Anchor href={url} target="_blank" rel="noreferrer">{url}</Anchor> : t('The address is shown here when there is an Ingress that leads to a Service.'),
    },
    {
      done: done.changed,
      title: t('Scale to 4, or change it and roll back'),
      text: <>{t('Open the Deployment, and use the buttons at its top.')} <Link routeName="deployments">{t('Deployments')}</Link></>,
    },
  ];
  const shown = problem ?? refused ?? (job?.ended && job.what === 'enable' ? job.error : undefined);
  return (
    <SectionBox title={t('Start here')}>
      <Typography sx={{ mb: 2 }}>{t('The way of the tutorial, in five steps. Each ticks itself off when the cluster shows that it is done.')}</Typography>
      <Box component="ol" sx={{ listStyle: 'none', p: 0, m: 0, display: 'grid', gap: 1.5, maxWidth: '56rem' }}>
        {steps.map((step, index) => (
          <Paper key={step.title} component="li" variant="outlined" sx={{ p: 2, display: 'flex', gap: 2, alignItems: 'flex-start' }}>
            {/* Icon hides itself from screen readers, whatever it is told; the box around it is what they read. */}
            <Box role="img" aria-label={step.done ? t('Done') : t('To do')} sx={{ fontSize: 30, lineHeight: 1, color: theme => (step.done ? (theme.palette.mode === 'dark' ? '#66bb6a' : '#2e7d32') : theme.palette.text.secondary) }}>
              <Icon icon={step.done ? 'mdi:check-circle' : 'mdi:checkbox-blank-circle-outline'} />
            </Box>
            <Box sx={{ flex: 1 }}>
              <Typography component="h2" sx={{ fontWeight: 700 }}>{`${index + 1}. ${step.title}`}</Typography>
              <Typography component="div" className="sentence">{step.text}</Typography>
              {!step.done && step.act && <Box sx={{ mt: 1 }}>{step.act}</Box>}
            </Box>
          </Paper>
        ))}
      </Box>
      {shown && <ProblemAlert problem={shown} />}
    </SectionBox>
  );
}
