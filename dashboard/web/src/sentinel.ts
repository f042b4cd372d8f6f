import { useEffect, useState } from 'react';

export interface Health {
  up: boolean; // the API server answers
  times: number; // how often it has come back; 0 before the first answer
}

const retryAfter = 500;
const answerWithin = 5000;

/**
 * Watches whether the API server answers. Headlamp's own watches do not come back after a break, so the pages are drawn again
 * when this one does.
 */
export function useSentinel(profile: string, active: boolean): Health {
  const [health, setHealth] = useState<Health>({ up: false, times: 0 });
  useEffect(() => {
    if (!active || !profile) return;
    let ended = false;
    let socket: WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const lost = () => {
      if (ended) return;
      setHealth(before => (before.up ? { ...before, up: false } : before));
      timer = setTimeout(begin, retryAfter);
    };
    const begin = async () => {
      try {
        const answer = await fetch(`/clusters/${profile}/readyz`, { signal: AbortSignal.timeout(answerWithin) });
        if (!answer.ok) throw new Error(answer.statusText);
      } catch {
        lost();
        return;
      }
      if (ended) return;
      const path = `/clusters/${profile}/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dkube-system`;
      const next = new WebSocket(`${location.origin.replace('http', 'ws')}${path}`, 'base64.binary.k8s.io');
      socket = next;
      let told = false;
      next.onopen = () => {
        setHealth(before => ({ up: true, times: before.times + 1 }));
      };
      next.onclose = () => {
        if (!told) lost();
        told = true;
      };
    };
    void begin();
    return () => {
      ended = true;
      clearTimeout(timer);
      socket?.close();
      setHealth(before => ({ ...before, up: false }));
    };
  }, [profile, active]);
  return health;
}
