import { Autocomplete, Box, Dialog, DialogContent, DialogTitle, TextField } from '@mui/material';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useHistory } from 'react-router-dom';
import { useText } from './i18n';
import { places, typing } from './places';

const searchEvent = 'skiff-search';
const helpEvent = 'skiff-help';
export const openSearch = () => void window.dispatchEvent(new Event(searchEvent));
export const openHelp = () => void window.dispatchEvent(new Event(helpEvent));

const chordTime = 1500; // ms from g to the letter

interface Found {
  label: string;
  group: string;
  path: string;
}

/** The kinds whose objects the search finds. */
const kinds = [
  { api: 'apis/apps/v1/deployments', group: 'Deployments', path: (namespace: string, name: string) => `/deployments/${namespace}/${name}` },
  { api: 'api/v1/pods', group: 'Pods', path: (namespace: string, name: string) => `/pods/${namespace}/${name}` },
  { api: 'api/v1/services', group: 'Services', path: (namespace: string, name: string) => `/services/${namespace}/${name}` },
  { api: 'apis/networking.k8s.io/v1/ingresses', group: 'Ingresses', path: (namespace: string, name: string) => `/ingresses/${namespace}/${name}` },
  { api: 'api/v1/configmaps', group: 'Config Maps', path: (namespace: string, name: string) => `/configmaps/${namespace}/${name}` },
];
const atMost = 500; // objects of a kind

/** The keys of the page: / searches, g and a letter go somewhere, ? tells of them. */
export function Keyboard({ profile }: { profile: string }) {
  const t = useText();
  const history = useHistory();
  const [open, setOpen] = useState<'search' | 'help'>();
  const chord = useRef(0);
  const go = (path: string) => history.push(`/c/${profile}${path}`);

  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      const place = Date.now() - chord.current < chordTime ? places.find(one => one.letter === event.key) : undefined;
      chord.current = event.key === 'g' && !place ? Date.now() : 0;
      if (place) go(place.path);
      else if (event.key === '/') setOpen('search');
      else if (event.key === '?') setOpen('help');
      else return;
      event.preventDefault();
    };
    const search = () => setOpen('search');
    const help = () => setOpen('help');
    window.addEventListener('keydown', key);
    window.addEventListener(searchEvent, search);
    window.addEventListener(helpEvent, help);
    return () => {
      window.removeEventListener('keydown', key);
      window.removeEventListener(searchEvent, search);
      window.removeEventListener(helpEvent, help);
    };
  });

  return (
    <>
      <Dialog open={open === 'help'} onClose={() => setOpen(undefined)} aria-labelledby="keys">
        <DialogTitle id="keys">{t('Keyboard')}</DialogTitle>
        <DialogContent>
          <Box component="dl" sx={{ display: 'grid', gridTemplateColumns: 'auto 1fr', gap: '0.3rem 1.5rem', m: 0, '& dt': { fontFamily: 'monospace', fontWeight: 700 }, '& dd': { m: 0 } }}>
            <dt>/</dt>
            <dd>{t('Search')}</dd>
            <dt>?</dt>
            <dd>{t('Keyboard')}</dd>
            {places.map(one => (
              <Box key={one.letter} sx={{ display: 'contents' }}>
                <dt>g {one.letter}</dt>
                <dd>{t(one.name)}</dd>
              </Box>
            ))}
          </Box>
        </DialogContent>
      </Dialog>
      {open === 'search' && <Search profile={profile} close={() => setOpen(undefined)} go={go} />}
    </>
  );
}

function Search({ profile, close, go }: { profile: string; close: () => void; go: (path: string) => void }) {
  const t = useText();
  const [objects, setObjects] = useState<Found[]>([]);
  useEffect(() => {
    const cancel = new AbortController();
    for (const kind of kinds) {
      fetch(`/clusters/${profile}/${kind.api}?limit=${atMost}`, { signal: cancel.signal, headers: { Accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' } })
        .then(answer => (answer.ok ? answer.json() : { items: [] }))
        .then(list =>
          setObjects(before => [
            ...before,
            ...list.items.map(({ metadata }: any) => ({ label: `${metadata.namespace}/${metadata.name}`, group: kind.group, path: kind.path(metadata.namespace, metadata.name) })),
          ])
        )
        .catch(() => undefined); // the pages are found also when the API server is away
    }
    return () => cancel.abort();
  }, [profile]);
  const options = useMemo(
    () => [...places.map(one => ({ label: t(one.name), group: 'Pages', path: one.path })), ...kinds.flatMap(kind => objects.filter(one => one.group === kind.group))],
    [objects]
  );
  return (
    <Dialog open onClose={close} fullWidth maxWidth="sm" aria-label={t('Search')} sx={{ '& .MuiDialog-container': { alignItems: 'flex-start', pt: 8 } }}>
      <DialogContent>
        <Autocomplete
          open
          disablePortal
          autoHighlight
          options={options}
          groupBy={one => t(one.group)}
          getOptionKey={one => one.path}
          ListboxProps={{ style: { maxHeight: '50vh' } }}
          onChange={(_, one) => {
            if (one) go(one.path);
            close();
          }}
          onClose={(_, reason) => reason === 'escape' && close()}
          renderInput={input => <TextField {...input} autoFocus label={t('Search')} />}
        />
        <Box sx={{ height: '52vh' }} />
      </DialogContent>
    </Dialog>
  );
}
