import { useEffect, useState } from 'react';

/** What went wrong, as skiff tells it. */
export interface Problem {
  id?: string;
  message: string;
  advice?: string;
  next?: string;
  output?: string;
}

export interface Job {
  id: number;
  what: 'start' | 'enable' | 'disable' | 'save' | 'restore' | 'delete';
  about: string;
  text: string;
  step?: number;
  steps?: number;
  done?: number;
  total?: number;
  ended: boolean;
  error?: Problem;
}

export type Phase = 'running' | 'starting' | 'paused' | 'stopped' | 'absent' | 'broken';

export interface State {
  profile: string;
  phase: Phase;
  note?: string;
  address?: string;
  kubernetes?: string;
  version: string;
  job?: Job;
}

/** A request that skiff has refused. */
export class Refused extends Error {
  status: number;
  problem: Problem;
  constructor(status: number, problem: Problem) {
    super(problem.message);
    this.status = status;
    this.problem = problem;
  }
}

/** Asks skiff itself; what it refuses is thrown as Refused. */
export async function ask<T>(method: string, path: string, body?: string): Promise<T> {
  const response = await fetch(path, { method, body });
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as T;
  let problem: Problem = { message: text.trim() || response.statusText };
  try {
    problem = JSON.parse(text) as Problem;
  } catch {
    // A sentence and no JSON.
  }
  throw new Refused(response.status, problem);
}

/**
 * The state of the cluster as it changes; undefined until it is known, null when the command that serves the page has ended.
 * Only a page that is seen listens: a browser has six connections to a server, for all of its tabs.
 */
export function useServerState(): State | null | undefined {
  const [state, setState] = useState<State | null>();
  useEffect(() => {
    let source: EventSource | undefined;
    let retry: ReturnType<typeof setTimeout> | undefined;
    const listen = () => {
      clearTimeout(retry);
      source?.close();
      if (document.hidden) return;
      source = new EventSource('/skiff/states');
      source.onmessage = event => setState(JSON.parse(event.data) as State);
      source.onerror = () => {
        setState(null);
        source?.close();
        retry = setTimeout(listen, 1000);
      };
    };
    listen();
    document.addEventListener('visibilitychange', listen);
    return () => {
      document.removeEventListener('visibilitychange', listen);
      clearTimeout(retry);
      source?.close();
    };
  }, []);
  return state;
}
