import { addAPIProvider, addCollection } from '@iconify/react';
import collection from 'virtual:icons';

/** Icons are part of the page; none is fetched from the net. */
export function useIconsOffline() {
  addAPIProvider('', { resources: [] });
  addCollection(collection);
}
