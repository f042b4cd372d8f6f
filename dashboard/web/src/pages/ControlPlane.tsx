import { Icon } from '@iconify/react';
import { Box, Chip, Paper, Typography } from '@mui/material';
import Link from 'headlamp/components/common/Link';
import SectionBox from 'headlamp/components/common/SectionBox';
import Node from 'headlamp/lib/k8s/node';
import Pod from 'headlamp/lib/k8s/pod';
import { ReactNode } from 'react';
import { useText } from '../i18n';
import { controlPlane, onNodes, Part, Seen, seen } from './parts';
import { useCluster } from '../current';

export default function ControlPlane() {
  const t = useText();
  const state = useCluster();
  const [pods] = Pod.useList({ namespace: 'kube-system' });
  const [nodes] = Node.useList();
  const plain = pods?.map((one: any) => one.jsonData) ?? null;
  return (
    <SectionBox title={t('Control plane')}>
      <Typography sx={{ mb: 2 }}>{t('Every part watches the API server and does its share; none of them waits for an order.')}</Typography>
      <Frame title={t('Control plane')} icon="mdi:sitemap-outline">
        {Object.entries(controlPlane).map(([component, part]) => {
          const one = seen(plain, component);
          // The API server needs no Pod to be known: it answered.
          return <PartCard key={component} part={part} {...(component === 'kube-apiserver' && !one.pod ? { version: state.kubernetes ?? '', healthy: nodes !== null } : one)} />;
        })}
      </Frame>
      <Box aria-hidden sx={{ textAlign: 'center', fontSize: 32, color: 'text.secondary', lineHeight: 1.2 }}>
        <Icon icon="mdi:arrow-up-down" />
      </Box>
      {nodes?.map((node: any) => {
        const info = node.jsonData.status?.nodeInfo ?? {};
        const ready = node.jsonData.status?.conditions?.some((one: any) => one.type === 'Ready' && one.status === 'True') ?? false;
        const proxy = seen(plain?.filter((one: any) => one.spec?.nodeName === node.metadata.name) ?? null, 'kube-proxy');
        return (
          <Frame key={node.metadata.name} icon="mdi:server" title={<>{t('Node')} <Link routeName="node" params={{ name: node.metadata.name }}>{node.metadata.name}</Link></>}>
            <PartCard part={onNodes.kubelet} healthy={ready} version={info.kubeletVersion ?? ''} />
            <PartCard part={onNodes['kube-proxy']} {...proxy} />
            <PartCard part={onNodes.runtime} healthy={ready} version={(info.containerRuntimeVersion ?? '').replace('://', ' ')} />
          </Frame>
        );
      })}
    </SectionBox>
  );
}

function Frame({ title, icon, children }: { title: ReactNode; icon: string; children: ReactNode }) {
  return (
    <Paper variant="outlined" component="section" sx={{ p: 2, mb: 1, borderWidth: 2 }}>
      <Typography component="h2" variant="h6" sx={{ display: 'flex', alignItems: 'center', gap: 1, mb: 1.5 }}>
        <Icon icon={icon} /> {title}
      </Typography>
      <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fit, minmax(230px, 1fr))' }}>{children}</Box>
    </Paper>
  );
}

function PartCard({ part, healthy, version, pod }: { part: Part } & Seen) {
  const t = useText();
  const label = healthy === undefined ? t('Not seen') : healthy ? t('Healthy') : t('Not ready');
  return (
    <Paper variant="outlined" sx={{ p: 2, bgcolor: 'background.muted' }}>
      <Box sx={{ display: 'flex', alignItems: 'center', gap: 1, mb: 1 }}>
        <Box sx={{ fontSize: 28, lineHeight: 1, color: 'primary.main' }}>
          <Icon icon={part.icon} />
        </Box>
        <Typography component="h3" sx={{ fontWeight: 700, flex: 1 }}>
          {pod ? <Link routeName="pod" params={pod}>{t(part.name)}</Link> : t(part.name)}
        </Typography>
        <Chip size="small" variant="outlined" color={healthy === undefined ? 'default' : healthy ? 'success' : 'error'} icon={<Icon icon={healthy === undefined ? 'mdi:help-circle-outline' : healthy ? 'mdi:check-circle' : 'mdi:alert-circle'} />} label={label} sx={{ color: 'text.primary' }} />
      </Box>
      <Typography variant="body2">{t(part.what)}</Typography>
      {version && <Typography variant="body2" sx={{ mt: 1, fontFamily: 'monospace' }}>{version}</Typography>}
    </Paper>
  );
}
