import { DiffEditor } from '@monaco-editor/react';
import { Alert, Box, Typography, useTheme } from '@mui/material';
import * as yaml from 'js-yaml';
import { useEffect, useState } from 'react';
import { useText } from './i18n';
import { pathOf, plain } from './paths';

/** What an object is now, beside what somebody wanted to make of it. */
export function BothSides({ wanted, item }: { wanted: any; item: any }) {
  const t = useText();
  const theme = useTheme();
  const [there, setThere] = useState<string>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    fetch(`/clusters/${item.cluster}${pathOf(item)}`)
      .then(async answer => {
        if (!answer.ok) throw new Error(await answer.text());
        setThere(yaml.dump(plain(await answer.json())));
      })
      .catch(error => setProblem(String(error.message ?? error)));
  }, [item]);
  return (
    <Box sx={{ display: 'flex', flexDirection: 'column', height: '100%', p: 2 }}>
      <Typography component="h1" variant="h2" sx={{ fontSize: '1.4rem', fontWeight: 700, pb: 1 }}>
        {t('It was changed meanwhile')}
      </Typography>
      <Typography sx={{ pb: 1 }}>
        {t('Left is what it is now, right what you wanted to save. Your text stays in its editor: close that, open it again, and put your change into what is there now.')}
      </Typography>
      {problem && <Alert severity="error">{problem}</Alert>}
      {there !== undefined && (
        <Box sx={{ flex: 1, minHeight: 0 }}>
          <DiffEditor original={there} modified={yaml.dump(plain(wanted))} language="yaml" theme={theme.palette.mode === 'dark' ? 'vs-dark' : 'light'} height="100%" options={{ readOnly: true, renderSideBySide: true, automaticLayout: true }} />
        </Box>
      )}
    </Box>
  );
}
