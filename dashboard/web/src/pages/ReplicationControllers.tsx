import { DetailsGrid, MetadataDictGrid, OwnedPodsSection } from 'headlamp/components/common/Resource';
import ResourceListView from 'headlamp/components/common/Resource/ResourceListView';
import { KubeObject } from 'headlamp/lib/k8s/KubeObject';
import { useParams } from 'react-router-dom';
import { useText } from '../i18n';

/** Headlamp has no class for the ancestor of ReplicaSets, which the tutorial tells of. */
export class ReplicationController extends KubeObject {
  static kind = 'ReplicationController';
  static apiName = 'replicationcontrollers';
  static apiVersion = 'v1';
  static isNamespaced = true;
  static isScalable = true;

  static get detailsRoute() {
    return 'ReplicationController';
  }

  get spec() {
    return this.jsonData.spec;
  }

  get status() {
    return this.jsonData.status;
  }

  getContainers() {
    return this.spec?.template?.spec?.containers ?? [];
  }
}

export function ControllerList() {
  const t = useText();
  const images = (it: ReplicationController) => it.getContainers().map((one: { image: string }) => one.image).join('\n');
  return (
    <ResourceListView
      title={t('ReplicationControllers')}
      resourceClass={ReplicationController}
      columns={[
        'name',
        'namespace',
        { id: 'desired', label: t('Desired'), getValue: (it: ReplicationController) => it.spec?.replicas ?? 0, gridTemplate: 0.6 },
        { id: 'current', label: t('Current'), getValue: (it: ReplicationController) => it.status?.replicas ?? 0, gridTemplate: 0.6 },
        { id: 'ready', label: t('Ready'), getValue: (it: ReplicationController) => it.status?.readyReplicas ?? 0, gridTemplate: 0.6 },
        { id: 'images', label: t('Images'), getValue: images, gridTemplate: 'minmax(max-content, 1fr)' },
        {
          id: 'selector',
          label: t('Selector'),
          getValue: (it: ReplicationController) => JSON.stringify(it.spec?.selector ?? {}),
          render: (it: ReplicationController) => <MetadataDictGrid dict={it.spec?.selector ?? {}} />,
        },
        'labels',
        'age',
      ]}
    />
  );
}

/** As the section of Pods wants it: the selector of a ReplicationController is older than matchLabels. */
function withLabels(it: ReplicationController) {
  return { kind: ReplicationController.kind, metadata: it.metadata, cluster: it.cluster, jsonData: { spec: { selector: { matchLabels: it.spec?.selector ?? {} } } } };
}

export function ControllerDetails() {
  const t = useText();
  const { name, namespace } = useParams<{ name: string; namespace: string }>();
  return (
    <DetailsGrid
      resourceType={ReplicationController}
      name={name}
      namespace={namespace}
      withEvents
      extraInfo={(it: ReplicationController | null) =>
        it && [
          { name: t('Replicas'), value: `${it.status?.readyReplicas ?? 0} / ${it.spec?.replicas ?? 0} ${t('Ready')}` },
          { name: t('Selector'), value: <MetadataDictGrid dict={it.spec?.selector ?? {}} /> },
        ]
      }
      extraSections={(it: ReplicationController | null) => it && [{ id: 'skiff.owned-pods', section: <OwnedPodsSection resource={withLabels(it)} /> }]}
    />
  );
}
