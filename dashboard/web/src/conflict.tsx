import { Icon } from '@iconify/react';
import { Activity } from 'headlamp/components/activity/Activity';
import i18next from 'i18next';
import { BothSides } from './BothSides';

interface ApiError {
  status?: number;
  message?: string;
}

/**
 * The sentence that an editor shows when the API server refuses an edit. A conflict also opens a view of both sides: what is
 * there now, and what was to be saved.
 */
export function whyRefused(error: ApiError, wanted: any, item: any): string {
  if (error.status !== 409) return error.message || String(error);
  Activity.launch({
    id: `conflict-${item.metadata.uid}`,
    title: `${i18next.t('Conflict', { ns: 'skiff' })}: ${item.metadata.name}`,
    icon: <Icon icon="mdi:compare-horizontal" />,
    cluster: item.cluster,
    content: <BothSides wanted={wanted} item={item} />,
    location: 'full',
  });
  return i18next.t('It was changed meanwhile. Both sides are shown beside this editor.', { ns: 'skiff' });
}
