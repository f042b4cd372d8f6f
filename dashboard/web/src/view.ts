import { Health } from './sentinel';
import { State } from './server';

/** What the page shows below its top bar. */
export function view(state: State | null | undefined, health: Health): 'waiting' | 'state' | 'pages' {
  if (state === undefined) return 'waiting';
  if (state === null) return health.times > 0 ? 'pages' : 'waiting';
  if (state.phase === 'running') return health.times > 0 ? 'pages' : 'waiting';
  // An API server that is away for a moment leaves what is on the page, below a banner.
  return state.phase === 'starting' && health.times > 0 ? 'pages' : 'state';
}
