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
  await send('/skiff/apply', body);
  return body;
}

/**
 * Replaces an object that exists, raised in the same way. It is replaced and not applied: what is no longer in the text is to be
 * gone, also when no earlier apply has put it there. A resourceVersion that is not the newest is refused with status 409.
 */
export async function replace(body: unknown): Promise<void> {
  await send('/skiff/apply?how=replace', body);
}

async function send(path: string, body: unknown) {
  const { changes } = await ask<Applied>('POST', path, JSON.stringify(body));
  if (changes.length > 0) tell([i18next.t('Raised to what this cluster serves:', { ns: 'skiff' }), ...changes].join('\n'), 'info');
}

export default apply;
