import { registerRoute, registerRouteFilter, registerSidebarEntry, registerSidebarEntryFilter } from 'headlamp/plugin/registry';
import { useText } from '../i18n';
import { lazy } from 'react';

const StartHere = lazy(() => import('./StartHere'));
const ControlPlane = lazy(() => import('./ControlPlane'));
const Addons = lazy(() => import('./Addons'));
const Snapshots = lazy(() => import('./Snapshots'));
const ControllerList = lazy(() => import('./ReplicationControllers').then(it => ({ default: it.ControllerList })));
const ControllerDetails = lazy(() => import('./ReplicationControllers').then(it => ({ default: it.ControllerDetails })));

// What needs Headlamp's desktop application, its server's logins, or Monaco's TypeScript.
const absentRoutes = ['advancedSearch', 'Advanced Search', 'Plugins', 'plugins', 'Load KubeConfig', 'Add Cluster', 'Login', 'Token', 'OidcAuth'];

/** Adds the pages of skiff to those of Headlamp. */
export function registerPages() {
  const label = (text: string) => <Text text={text} /> as unknown as string;
  const page = (name: string, title: string, path: string, component: () => JSX.Element, icon: string) => {
    registerSidebarEntry({ parent: null, name, label: label(title), url: path, icon });
    registerRoute({ path, sidebar: name, name: title, exact: true, component });
  };
  page('skiff-start', 'Start here', '/start-here', () => <StartHere />, 'mdi:flag-outline');
  page('skiff-control-plane', 'Control plane', '/control-plane', () => <ControlPlane />, 'mdi:sitemap-outline');
  page('skiff-addons', 'Addons', '/addons', () => <Addons />, 'mdi:puzzle-plus-outline');
  page('skiff-snapshots', 'Snapshots', '/snapshots', () => <Snapshots />, 'mdi:camera-outline');
  registerSidebarEntry({ parent: 'workloads', name: 'ReplicationControllers', label: 'ReplicationControllers', url: '/replicationcontrollers' });
  registerRoute({ path: '/replicationcontrollers', sidebar: 'ReplicationControllers', name: 'ReplicationControllers', exact: true, component: () => <ControllerList /> });
  registerRoute({ path: '/replicationcontrollers/:namespace/:name', sidebar: 'ReplicationControllers', name: 'ReplicationController', exact: true, component: () => <ControllerDetails /> });
  registerSidebarEntryFilter((entry: { name: string }) => (entry.name === 'advancedSearch' ? null : entry));
  registerRouteFilter((route: { name?: string; path: string }) => (absentRoutes.includes(route.name ?? '') || route.path.startsWith('/settings/plugins') ? null : route));
}

/** A text of ours where Headlamp takes no function: it follows the language of the page. */
function Text({ text }: { text: string }) {
  const t = useText();
  return <>{t(text)}</>;
}
