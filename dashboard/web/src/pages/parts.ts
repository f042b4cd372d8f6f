export interface Part {
  name: string;
  icon: string;
  what: string; // what it is for, in a sentence
}

/** What a control plane is made of, as the Kubernetes documentation draws it ("Kubernetes Components"). */
export const controlPlane: Record<string, Part> = {
  'kube-apiserver': { name: 'API server', icon: 'mdi:api', what: 'The only door: kubectl, this page and every other part talk to it, and to nobody else.' },
  etcd: { name: 'etcd', icon: 'mdi:database', what: 'Keeps every object of the cluster. Only the API server reads and writes it.' },
  'kube-controller-manager': { name: 'Controller manager', icon: 'mdi:cog-sync', what: 'Watches what is wanted and what is there, and makes the one become the other.' },
  'kube-scheduler': { name: 'Scheduler', icon: 'mdi:calendar-clock', what: 'Chooses a node for each new Pod.' },
};

/** What runs on each node. */
export const onNodes: Record<'kubelet' | 'kube-proxy' | 'runtime', Part> = {
  kubelet: { name: 'kubelet', icon: 'mdi:account-hard-hat', what: 'Runs the Pods that the scheduler gave to its node, and says how they are.' },
  'kube-proxy': { name: 'kube-proxy', icon: 'mdi:lan', what: 'Leads connections to a Service to one of its Pods.' },
  runtime: { name: 'Container runtime', icon: 'mdi:package-variant-closed', what: 'Fetches images, and starts and ends containers for the kubelet.' },
};

/** The version in the name of an image. */
export function versionOf(image?: string): string {
  const tag = image?.split('@')[0].split('/').pop()?.split(':')[1];
  return tag ?? '';
}

export interface Seen {
  healthy?: boolean; // undefined: not known
  version: string;
  pod?: { name: string; namespace: string };
}

/** How a Pod of the control plane is. */
export function seen(pods: any[] | null, component: string): Seen {
  const pod = pods?.find(one => (one.metadata.labels?.component ?? one.metadata.labels?.['k8s-app']) === component);
  if (!pod) return { version: '' };
  return {
    healthy: pod.status?.conditions?.some((one: any) => one.type === 'Ready' && one.status === 'True') ?? false,
    version: versionOf(pod.spec?.containers?.[0]?.image),
    pod: { name: pod.metadata.name, namespace: pod.metadata.namespace },
  };
}
