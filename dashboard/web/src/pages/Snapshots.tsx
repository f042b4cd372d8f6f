import { Icon } from '@iconify/react';
import { Alert, Box, Button, Dialog, DialogActions, DialogContent, DialogContentText, DialogTitle, Table, TableBody, TableCell, TableContainer, TableHead, TableRow, TextField, Typography } from '@mui/material';
import SectionBox from 'headlamp/components/common/SectionBox';
import { useState } from 'react';
import { JobProgress, ProblemAlert } from '../Job';
import { useText } from '../i18n';
import { useCluster } from '../current';
import { useAsk, useListed } from './listed';

export interface Snapshot {
  Name: string;
  Created: string;
  Size: number;
  KubernetesVersion: string;
  Running: boolean;
  Description: string;
  Unquiet?: string;
  Problem?: string;
}

/** An amount of bytes as skiff writes it elsewhere. */
export const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

export default function Snapshots() {
  const t = useText();
  const { job, profile } = useCluster();
  const { list, problem } = useListed<Snapshot>('/skiff/snapshots');
  const [refused, send] = useAsk();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [asked, setAsked] = useState<{ what: 'restore' | 'delete'; name: string }>();
  const mine = job && ['save', 'restore', 'delete'].includes(job.what) ? job : undefined;
  const busy = job !== undefined && !job.ended;
  const confirm = () => {
    if (!asked) return;
    const path = `/skiff/snapshots/${encodeURIComponent(asked.name)}`;
    void (asked.what === 'restore' ? send('POST', `${path}/restore`) : send('DELETE', path));
    setAsked(undefined);
  };
  return (
    <SectionBox title={t('Snapshots')}>
      <Typography sx={{ mb: 2 }}>{t('A snapshot keeps the whole cluster, disk and memory. Restoring one puts the cluster back to that moment.')}</Typography>
      <Box
        component="form"
        sx={{ display: 'flex', gap: 2, mb: 2, flexWrap: 'wrap', alignItems: 'baseline' }}
        onSubmit={event => {
          event.preventDefault();
          void send('POST', '/skiff/snapshots', { name, description }).then(() => {
            setName('');
            setDescription('');
          });
        }}
      >
        <TextField size="small" label={t('Name')} value={name} onChange={event => setName(event.target.value)} helperText={t('Empty: the time')} inputProps={{ pattern: '[a-z0-9]([a-z0-9._\\-]{0,61}[a-z0-9])?' }} />
        <TextField size="small" label={t('Description')} value={description} onChange={event => setDescription(event.target.value)} sx={{ flex: 1, minWidth: 240 }} />
        <Button type="submit" variant="contained" disabled={busy} startIcon={<Icon icon="mdi:camera-plus-outline" />}>
          {t('Save')}
        </Button>
      </Box>
      {mine && !mine.ended && <JobProgress job={mine} />}
      {(refused ?? problem) && <ProblemAlert problem={(refused ?? problem)!} />}
      {mine?.ended && mine.error && <ProblemAlert problem={mine.error} />}
      {list?.length === 0 && <Alert severity="info">{t('There are no snapshots.')}</Alert>}
      {list && list.length > 0 && (
        <TableContainer tabIndex={0}>
          <Table aria-label={t('Snapshots')}>
            <TableHead>
              <TableRow>
                {['Name', 'Created', 'Size', 'Kubernetes', 'State', 'Description', 'Actions'].map(one => (
                  <TableCell key={one}>{t(one)}</TableCell>
                ))}
              </TableRow>
            </TableHead>
            <TableBody>
              {list.map(one => (
                <TableRow key={one.Name}>
                  <TableCell component="th" scope="row">
                    {one.Name}
                  </TableCell>
                  <TableCell>{new Date(one.Created).toLocaleString()}</TableCell>
                  <TableCell>{mebibytes(one.Size)}</TableCell>
                  <TableCell>{one.KubernetesVersion}</TableCell>
                  <TableCell>{one.Problem ? t('Broken') : one.Running ? t('Running') : t('Stopped')}</TableCell>
                  <TableCell>{one.Problem || one.Unquiet || one.Description}</TableCell>
                  <TableCell sx={{ whiteSpace: 'nowrap' }}>
                    <Button size="small" disabled={busy || !!one.Problem} onClick={() => setAsked({ what: 'restore', name: one.Name })}>
                      {t('Restore')}
                    </Button>
                    <Button size="small" disabled={busy} color="error" onClick={() => setAsked({ what: 'delete', name: one.Name })}>
                      {t('Delete')}
                    </Button>
                  </TableCell>
                </TableRow>
              ))}
            </TableBody>
          </Table>
        </TableContainer>
      )}
      <Dialog open={asked !== undefined} onClose={() => setAsked(undefined)} aria-labelledby="asked">
        <DialogTitle id="asked">{asked?.what === 'restore' ? t('Restore snapshot {{name}}?', { name: asked.name }) : t('Delete snapshot {{name}}?', { name: asked?.name })}</DialogTitle>
        <DialogContent>
          <DialogContentText>
            {asked?.what === 'restore' ? t('What cluster {{profile}} is now is lost. Save a snapshot of it first to be able to return.', { profile }) : t('The cluster and the other snapshots stay.')}
          </DialogContentText>
        </DialogContent>
        <DialogActions>
          <Button onClick={() => setAsked(undefined)}>{t('Cancel')}</Button>
          <Button onClick={confirm} variant="contained" autoFocus>
            {asked?.what === 'restore' ? t('Restore') : t('Delete')}
          </Button>
        </DialogActions>
      </Dialog>
    </SectionBox>
  );
}
