import { Icon } from '@iconify/react';
import { Activity, useActivity } from 'headlamp/components/activity/Activity';
import EditorDialog from 'headlamp/components/common/Resource/EditorDialog';
import i18next from 'i18next';
import { replace } from './apply';
import { BothSides } from './BothSides';
import { edited } from './edited';

/**
 * The editor of an object that exists. Why an edit was refused stands in the editor's activity, and not in the button that opened
 * it: that is drawn again, or gone, while the editor stays.
 */
export function Editing(props: any) {
  const [activity, update] = useActivity();
  const refusal = (activity as { refusal?: string }).refusal ?? '';
  return <EditorDialog {...props} errorMessage={refusal} onEditorChanged={() => refusal && update({ refusal: '' } as object)} />;
}

/** Saves what an editor has, in place of the item that it was opened with. */
export async function save(texts: any[], item: any): Promise<void> {
  const checked = edited(texts, item);
  if ('problem' in checked) throw new Error(i18next.t(checked.problem, { ns: 'skiff', ...checked.values }));
  await replace(checked.object);
}

/**
 * Puts the editor back in front, with why its text was not saved. A conflict also opens a view of both sides: what is there now,
 * and what was to be saved.
 */
export function showRefusal(editor: string, error: { status?: number; message?: string }, texts: any[], item: any) {
  let refusal = error.message || String(error);
  if (error.status === 409) refusal = i18next.t('It was changed meanwhile. Both sides are shown beside this editor.', { ns: 'skiff' });
  Activity.update(editor, { minimized: false, refusal } as object);
  if (error.status !== 409) return;
  Activity.launch({
    id: `conflict-${item.metadata.uid}`,
    title: `${i18next.t('Conflict', { ns: 'skiff' })}: ${item.metadata.name}`,
    icon: <Icon icon="mdi:compare-horizontal" />,
    cluster: item.cluster,
    content: <BothSides wanted={texts[0]} item={item} />,
    location: 'full',
  });
}
