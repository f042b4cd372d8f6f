import { Alert, Box, Button, CssBaseline, GlobalStyles, LinearProgress, ThemeProvider } from '@mui/material';
import { useQueryClient } from '@tanstack/react-query';
import { ActivitiesRenderer } from 'headlamp/components/activity/Activity';
import RouteSwitcher, { PreviousRouteProvider } from 'headlamp/components/App/RouteSwitcher';
import { useCurrentAppTheme } from 'headlamp/components/App/themeSlice';
import ErrorBoundary from 'headlamp/components/common/ErrorBoundary';
import Sidebar, { NavigationTabs } from 'headlamp/components/Sidebar';
import { setConfig } from 'headlamp/redux/configSlice';
import { createMuiTheme } from 'headlamp/lib/themes';
import { SnackbarProvider } from 'notistack';
import { Suspense, useEffect, useMemo } from 'react';
import { useDispatch } from 'react-redux';
import { Redirect, Route, Switch, useLocation } from 'react-router-dom';
import { Actions } from './Actions';
import { Current } from './current';
import { useText } from './i18n';
import { Keyboard } from './Keyboard';
import { Health, useSentinel } from './sentinel';
import { State, useServerState } from './server';
import { StatePage } from './StatePage';
import { TopBar } from './TopBar';
import { view } from './view';

const widest = '120rem'; // of a page, but the map
const messageColors = { success: '#2e7d32', error: '#c62828', warning: '#a84300', info: '#0b5f8a', default: '#313131' };

export function Shell() {
  const dispatch = useDispatch();
  const queries = useQueryClient();
  const server = useServerState();
  const profile = useRemembered(server?.profile) ?? '';
  const state = useRemembered(server ?? undefined);
  const active = server?.phase === 'running' || server?.phase === 'starting' || (server === null && profile !== '');
  const health = useSentinel(profile, active);
  const appTheme = useCurrentAppTheme();
  const theme = useMemo(() => createMuiTheme(appTheme), [appTheme]);

  useEffect(() => {
    if (!profile) return;
    dispatch(setConfig({ clusters: { [profile]: { name: profile, auth_type: '', meta_data: { source: 'skiff', namespace: 'default' } } } }));
    // The server has the credentials: Headlamp has nobody to log in.
    queries.setQueryDefaults(['auth', profile], { staleTime: Infinity, gcTime: Infinity });
    queries.setQueryData(['auth', profile], {});
  }, [profile]);

  useEffect(() => {
    if (health.times > 1) void queries.resetQueries({ predicate: query => query.queryKey[0] !== 'auth' });
  }, [health.times]);

  const shown = view(server, health);
  const canvas = useLocation().pathname.endsWith('/map');
  return (
    <ThemeProvider theme={theme}>
      <CssBaseline />
      <GlobalStyles
        styles={{
          // A link within a sentence is told from it by more than its colour (WCAG 2, 1.4.1).
          '.sentence a': { textDecoration: 'underline' },
          // On a screen of 4K that is not scaled, letters of 16 pixels are small and a row of a table is too long to follow.
          '@media (min-width: 2560px)': { html: { fontSize: 18 } },
          '@media (min-width: 3400px)': { html: { fontSize: 22 } },
          // The names of a list of values have a sixth of its width, which is too little for a word of them.
          '@media (min-width: 900px) and (max-width: 1199px)': { 'dt.MuiGrid-grid-md-2': { flexBasis: '25%', maxWidth: '25%' }, 'dd.MuiGrid-grid-md-10': { flexBasis: '75%', maxWidth: '75%' } },
          // Notistack's own colours have too little contrast.
          ...Object.fromEntries(Object.entries(messageColors).map(([kind, color]) => [`.notistack-MuiContent-${kind}.notistack-MuiContent-${kind}`, { backgroundColor: color, color: '#fff' }])),
          // A long reason below an editor leaves its buttons as they are.
          '.MuiDialogActions-root > .MuiButton-root': { flexShrink: 0, whiteSpace: 'nowrap' },
          '.MuiDialogActions-root > .MuiTypography-root': { whiteSpace: 'pre-wrap', maxHeight: '7.5em', overflow: 'auto' },
          '.react-flow__attribution': { background: 'transparent !important' },
          '.react-flow__attribution a': { color: `${theme.palette.text.primary} !important` },
        }}
      />
      <SnackbarProvider anchorOrigin={{ vertical: 'top', horizontal: 'center' }} maxSnack={4}>
        <Current.Provider value={state}>
          <PreviousRouteProvider>
            <Box sx={{ display: 'flex', flexDirection: 'column', height: '100dvh', overflow: 'hidden', bgcolor: 'background.default', color: 'text.primary' }}>
              <TopBar state={state} />
              <Banner server={server} health={health} shown={shown} />
              <Box sx={{ flex: 1, minHeight: 0, position: 'relative', display: 'grid', gridTemplateColumns: 'min-content minmax(0, 1fr)', gridTemplateRows: 'minmax(0, 1fr) min-content' }}>
                {shown === 'pages' && (
                  <ErrorBoundary>
                    <Sidebar key={health.times} />
                  </ErrorBoundary>
                )}
                <Box component="main" id="main" tabIndex={-1} sx={{ gridColumn: '2 / 3', gridRow: '1 / 2', overflow: 'auto', position: 'relative', outline: 'none', display: 'flex', flexDirection: 'column' }}>
                  {shown === 'waiting' && <LinearProgress aria-label="skiff" />}
                  {shown === 'state' && state && <StatePage state={state} />}
                  {shown === 'pages' && profile && (
                    <Suspense fallback={<LinearProgress aria-label="skiff" />}>
                      <NavigationTabs />
                      <Box sx={{ flex: 1, minHeight: 0, px: { xs: 1, lg: 3 }, py: 1, width: '100%', maxWidth: canvas ? undefined : widest, mx: 'auto' }}>
                        <Switch>
                          <Route exact path="/">
                            <Redirect to={`/c/${profile}`} />
                          </Route>
                          <Route>
                            <RouteSwitcher key={health.times} requiresToken={() => false} />
                          </Route>
                        </Switch>
                      </Box>
                    </Suspense>
                  )}
                </Box>
                {/* Editors and shells lie outside of the pages: they stay when the API server goes, with what was typed. */}
                <ErrorBoundary>
                  <Suspense fallback={null}>
                    <ActivitiesRenderer />
                  </Suspense>
                </ErrorBoundary>
              </Box>
            </Box>
            <Actions />
            {shown === 'pages' && profile && <Keyboard profile={profile} />}
          </PreviousRouteProvider>
        </Current.Provider>
      </SnackbarProvider>
    </ThemeProvider>
  );
}

/** The last value that was there. */
function useRemembered<T>(value: T | undefined): T | undefined {
  const kept = useMemo(() => ({ value }), []);
  if (value !== undefined) kept.value = value;
  return kept.value;
}

function Banner({ server, health, shown }: { server: State | null | undefined; health: Health; shown: string }) {
  const t = useText();
  if (server === null) {
    return (
      <Alert severity="warning" role="alert" action={<Button color="inherit" onClick={() => location.reload()}>{t('Reload')}</Button>}>
        {t('The dashboard has ended: its command serves this page. Run skiff dashboard again.')}
      </Alert>
    );
  }
  if (shown === 'pages' && !health.up) {
    return (
      <Alert severity="warning" role="alert">
        {t('The API server does not answer. What you see is from before; it is brought up to date when the API server returns.')}
      </Alert>
    );
  }
  return null;
}
