import { loader } from '@monaco-editor/react';

/** Lets the editor come with the page, when the first one opens; by default it is loaded from a server in the net. */
export function useMonacoOffline() {
  let loaded: ReturnType<typeof loader.init> | undefined;
  loader.init = () => {
    loaded ??= Object.assign(import('./editor').then(module => module.monaco), { cancel: () => undefined }) as unknown as ReturnType<typeof loader.init>;
    return loaded;
  };
}
