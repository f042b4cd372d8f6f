export interface Addon {
  Name: string;
  Description: string;
  Enabled: boolean;
}

/** Namespaces of the cluster itself, whose objects tick nothing off. */
const system = ['kube-system', 'kube-public', 'kube-node-lease', 'ingress'];

export interface Objects {
  addons: Addon[];
  deployments: any[];
  services: any[];
  ingresses: any[];
}

export interface Progress {
  ingress: boolean; // the addon is enabled
  deployed: boolean; // there is a Deployment of one's own, a Service and an Ingress
  ready: boolean; // all of its Pods are Ready
  reachable?: { path: string }; // an Ingress that leads to a Service
  changed: boolean; // a Deployment has four Pods or more, or was changed since
}

/** Which steps are done, by what is in the cluster. */
export function progress({ addons, deployments, services, ingresses }: Objects): Progress {
  const own = (list: any[]) => list.filter(one => !system.includes(one.metadata.namespace) && one.metadata.name !== 'kubernetes');
  const mine = own(deployments);
  const ready = (one: any) => (one.spec?.replicas ?? 0) > 0 && (one.status?.readyReplicas ?? 0) >= one.spec.replicas;
  const names = own(services).map(one => `${one.metadata.namespace}/${one.metadata.name}`);
  let reachable: Progress['reachable'];
  for (const ingress of own(ingresses)) {
    for (const rule of ingress.spec?.rules ?? []) {
      for (const path of rule.http?.paths ?? []) {
        if (names.includes(`${ingress.metadata.namespace}/${path.backend?.service?.name}`)) reachable ??= { path: path.path ?? '/' };
      }
    }
  }
  return {
    ingress: addons.some(one => one.Name === 'ingress' && one.Enabled),
    deployed: mine.length > 0 && names.length > 0 && own(ingresses).length > 0,
    ready: mine.some(ready),
    reachable,
    changed: mine.some(one => (one.status?.readyReplicas ?? 0) >= 4 || Number(one.metadata.annotations?.['deployment.kubernetes.io/revision'] ?? 1) > 1),
  };
}
