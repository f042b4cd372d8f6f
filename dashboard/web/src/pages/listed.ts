import { useEffect, useState } from 'react';
import { useCluster } from '../current';
import { ask, Problem, Refused } from '../server';

/** A list of skiff's own, asked for again whenever a job has ended. */
export function useListed<T>(path: string): { list?: T[]; problem?: Problem; again: () => void } {
  const { job } = useCluster();
  const [list, setList] = useState<T[]>();
  const [problem, setProblem] = useState<Problem>();
  const [times, setTimes] = useState(0);
  useEffect(() => {
    ask<T[]>('GET', path)
      .then(found => {
        setList(found);
        setProblem(undefined);
      })
      .catch(error => setProblem(error instanceof Refused ? error.problem : { message: String(error) }));
  }, [path, job?.id, job?.ended, times]);
  return { list, problem, again: () => setTimes(n => n + 1) };
}

/** Lets skiff do something, and keeps why it was refused. */
export function useAsk(): [problem: Problem | undefined, send: (method: string, path: string, body?: unknown) => Promise<void>] {
  const [problem, setProblem] = useState<Problem>();
  return [
    problem,
    (method, path, body) => {
      setProblem(undefined);
      return ask<unknown>(method, path, body === undefined ? undefined : JSON.stringify(body)).then(
        () => undefined,
        error => setProblem(error instanceof Refused ? error.problem : { message: String(error) })
      );
    },
  ];
}
