import { createContext, useContext } from 'react';
import { State } from './server';

/** The state of the cluster, once there is one. */
export const Current = createContext<State | undefined>(undefined);

/** The state of the cluster, for pages; they are drawn only when there is one. */
export function useCluster(): State {
  const state = useContext(Current);
  if (!state) throw new Error('there is no state yet');
  return state;
}
