import i18next from 'i18next';
import { ask } from './server';
import { tell } from './tell';

interface Applied {
  changes: string[];
  output: string;
  raised?: string;
}

/**
 * In the place of Headlamp's function of that name: what is created goes through skiff's apply, so a manifest of 2019 is raised
 * to an API version that the cluster serves, and what was changed for it is said.
 */
export async function apply<T>(body: T, _cluster?: string): Promise<T> {
  const result = await ask<Applied>('POST', '/skiff/apply', JSON.stringify(body));
  if (result.changes.length > 0) tell([i18next.t('Raised to what this cluster serves:', { ns: 'skiff' }), ...result.changes].join('\n'), 'info');
  return body;
}

export default apply;
