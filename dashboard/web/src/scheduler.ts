/**
 * A scheduler for TanStack Query that tells React of changes at most ten times a second: with a busy cluster each event of a
 * watch would draw the page once more, and it falls behind. What comes after a pause is told at once.
 */
export function makeScheduler(every = 100, now: () => number = () => performance.now(), later: (run: () => void, wait: number) => unknown = setTimeout) {
  let waiting: Array<() => void> = [];
  let last = -Infinity;
  return (callback: () => void) => {
    waiting.push(callback);
    if (waiting.length > 1) return;
    later(() => {
      const run = waiting;
      waiting = [];
      last = now();
      run.forEach(one => one());
    }, Math.max(0, last + every - now()));
  };
}
