import { Job } from './server';

/** How far a job is, in percent; undefined where it does not count. */
export function percent(job: Job): number | undefined {
  if (job.total) return Math.round((100 * (job.done ?? 0)) / job.total);
  if (job.steps && job.step) return Math.round((100 * (job.step - 1)) / job.steps);
  return undefined;
}

