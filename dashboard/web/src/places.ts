/** The pages that g and a letter open; paths lie below the cluster's. */
export const places: Array<{ letter: string; name: string; path: string }> = [
  { letter: 'o', name: 'Overview', path: '' },
  { letter: 'h', name: 'Start here', path: '/start-here' },
  { letter: 'c', name: 'Control plane', path: '/control-plane' },
  { letter: 'a', name: 'Addons', path: '/addons' },
  { letter: 'z', name: 'Snapshots', path: '/snapshots' },
  { letter: 'm', name: 'Map', path: '/map' },
  { letter: 'p', name: 'Pods', path: '/pods' },
  { letter: 'd', name: 'Deployments', path: '/deployments' },
  { letter: 'r', name: 'ReplicationControllers', path: '/replicationcontrollers' },
  { letter: 's', name: 'Services', path: '/services' },
  { letter: 'i', name: 'Ingresses', path: '/ingresses' },
  { letter: 'n', name: 'Nodes', path: '/nodes' },
  { letter: 'k', name: 'Config Maps', path: '/configmaps' },
  { letter: 'f', name: 'Port Forwarding', path: '/portforwards' },
  { letter: 'e', name: 'Namespaces', path: '/namespaces' },
];

/** Whether a key is text for what has the focus. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName) || target.closest('.monaco-editor, .xterm, [role="dialog"], [role="menu"], [role="listbox"]') !== null;
}
