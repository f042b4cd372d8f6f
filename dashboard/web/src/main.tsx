import 'headlamp/i18n/config';
import { notifyManager, QueryClientProvider } from '@tanstack/react-query';
import { queryClient } from 'headlamp/lib/queryClient';
import { pluginsLoaded } from 'headlamp/plugin/pluginsSlice';
import { setBrandingAppLogoComponent, themeSlice } from 'headlamp/components/App/themeSlice';
import { setStore } from 'headlamp/lib/router/createRouteURL';
import store from 'headlamp/redux/stores/store';
import { createRoot } from 'react-dom/client';
import { Provider } from 'react-redux';
import { BrowserRouter } from 'react-router-dom';
import { again } from './again';
import { addTexts } from './i18n';
import { useIconsOffline } from './icons';
import { Logo } from './Logo';
import { useMonacoOffline } from './monaco/offline';
import { registerPages } from './pages';
import { makeScheduler } from './scheduler';
import { Shell } from './Shell';

useIconsOffline();
useMonacoOffline();
notifyManager.setScheduler(makeScheduler());
queryClient.setDefaultOptions({ queries: { ...queryClient.getDefaultOptions().queries, retry: again } });
addTexts();
setStore(store);
store.dispatch(themeSlice.actions.ensureValidThemeName());
store.dispatch(setBrandingAppLogoComponent(Logo));
registerPages();
store.dispatch(pluginsLoaded());

createRoot(document.getElementById('root')!).render(
  <Provider store={store}>
    <QueryClientProvider client={queryClient}>
      <BrowserRouter>
        <Shell />
      </BrowserRouter>
    </QueryClientProvider>
  </Provider>
);
