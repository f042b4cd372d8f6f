import { Icon } from '@iconify/react';
import { Activity, useActivity } from 'headlamp/components/activity/Activity';
import EditorDialog from 'headlamp/components/common/Resource/EditorDialog';
import store from 'headlamp/redux/stores/store';
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

const there = (editor: string) => editor in store.getState().activity.activities;

/** Puts an editor back in front that was out of the way while its text was being saved. */
export function bringBack(editor: string, refusal = '') {
  if (there(editor)) Activity.update(editor, { minimized: false, refusal } as object);
}

/**
 * Puts the editor back in front, with why its text was not saved; a text whose editor was closed is shown for itself. A conflict
 * also opens a view of both sides: what is there now, and what was to be saved.
 */
export function showRefusal(editor: string, error: { status?: number; message?: string }, texts: any[], item: any) {
  const conflict = error.status === 409;
  const refusal = conflict ? i18next.t('It was changed meanwhile. Both sides are shown beside this editor.', { ns: 'skiff' }) : error.message || String(error);
  bringBack(editor, refusal);
  const show = (id: string, title: string, icon: string, content: JSX.Element) =>
    Activity.launch({ id, title: `${i18next.t(title, { ns: 'skiff' })}: ${item.metadata.name}`, icon: <Icon icon={icon} />, cluster: item.cluster, content, location: 'full' });
  if (conflict) {
    show(`conflict-${item.metadata.uid}`, 'Conflict', 'mdi:compare-horizontal', <BothSides wanted={texts[0]} item={item} />);
  } else if (!there(editor)) {
    const id = `refused-${item.metadata.uid}`;
    show(id, 'Not saved', 'mdi:pencil-off', <EditorDialog noDialog open item={texts[0]} onSave={null} onClose={() => Activity.close(id)} errorMessage={refusal} />);
  }
}
