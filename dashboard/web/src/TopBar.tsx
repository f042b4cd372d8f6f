import { Icon } from '@iconify/react';
import { AppBar, Box, Button, Chip, IconButton, Toolbar, Tooltip } from '@mui/material';
import { setTheme } from 'headlamp/components/App/themeSlice';
import i18next from 'i18next';
import { useDispatch } from 'react-redux';
import { useHistory } from 'react-router-dom';
import { useTheme } from '@mui/material/styles';
import { useText } from './i18n';
import { openHelp, openSearch } from './Keyboard';
import { Logo } from './Logo';
import { State } from './server';

/** The bar above all pages. */
export function TopBar({ state }: { state?: State }) {
  const t = useText();
  const theme = useTheme();
  const dispatch = useDispatch();
  const history = useHistory();
  const dark = theme.palette.mode === 'dark';
  const chinese = i18next.language?.startsWith('zh');
  const running = state?.phase === 'running';
  return (
    <AppBar position="static" elevation={0} sx={{ bgcolor: (theme.palette as any).navbar.background, color: (theme.palette as any).navbar.color, backgroundImage: 'none', borderBottom: 1, borderColor: 'divider' }}>
      <a className="skip" href="#main" style={{ position: 'absolute', left: -9999 }}>
        {t('Skip to the page')}
      </a>
      <Toolbar variant="dense" sx={{ gap: 1.5, minHeight: 52 }}>
        <Button color="inherit" aria-label={t('skiff, overview')} onClick={() => state && history.push(`/c/${state.profile}`)} sx={{ px: 1 }}>
          <Logo />
        </Button>
        {state && <Chip size="small" variant="outlined" label={`${state.profile}${state.kubernetes ? ` · ${state.kubernetes}` : ''}`} sx={{ color: 'inherit' }} />}
        <Box sx={{ flex: 1 }} />
        {running && (
          <Button color="inherit" variant="outlined" size="small" startIcon={<Icon icon="mdi:magnify" />} onClick={openSearch} sx={{ borderColor: 'divider', minWidth: 200, justifyContent: 'flex-start' }}>
            {t('Search')}
            <Box component="kbd" sx={{ ml: 'auto', fontFamily: 'monospace' }}>
              /
            </Box>
          </Button>
        )}
        <Tooltip title={chinese ? 'English' : '简体中文'}>
          <IconButton color="inherit" aria-label={chinese ? 'English' : '简体中文'} onClick={() => void i18next.changeLanguage(chinese ? 'en' : 'zh')}>
            <Icon icon="mdi:translate" />
          </IconButton>
        </Tooltip>
        <Tooltip title={dark ? t('Light') : t('Dark')}>
          <IconButton color="inherit" aria-label={dark ? t('Light') : t('Dark')} onClick={() => dispatch(setTheme(dark ? 'light' : 'dark'))}>
            <Icon icon={dark ? 'mdi:white-balance-sunny' : 'mdi:weather-night'} />
          </IconButton>
        </Tooltip>
        {running && (
          <>
            <Tooltip title={t('Keyboard')}>
              <IconButton color="inherit" aria-label={t('Keyboard')} onClick={openHelp}>
                <Icon icon="mdi:keyboard-outline" />
              </IconButton>
            </Tooltip>
            <Tooltip title={t('Settings')}>
              <IconButton color="inherit" aria-label={t('Settings')} onClick={() => history.push('/settings/general')}>
                <Icon icon="mdi:cog" />
              </IconButton>
            </Tooltip>
          </>
        )}
      </Toolbar>
    </AppBar>
  );
}
