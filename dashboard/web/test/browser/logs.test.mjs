// Logs of a gigabyte: the page shows their last lines, continues to show new ones, and stays small.
import assert from 'node:assert/strict';
import { memory, renderers } from './memory.mjs';
import { control, inBrowser, shoot } from './page.mjs';

const gigabyte = 1_000_000_000;
const megabyte = 1_000_000;
const limit = 300 * megabyte;
// What is printed while the page follows: it takes a while to send as much as there is at first.
const growth = Number(process.env.SKIFF_LOG_GROWTH ?? 100 * megabyte);

/** Waits until the terminal shows the last line that was printed, and returns the most memory seen on the way (bytes). */
async function caughtUp(page, context, lines, patience) {
  const last = `line ${String(lines - 1).padStart(9, '0')}`;
  const processes = await renderers(context);
  let most = 0;
  const sampling = setInterval(() => (most = Math.max(most, ...processes.map(memory))), 100);
  try {
    const began = performance.now();
    await page.locator('.xterm-rows').last().getByText(last).waitFor({ timeout: patience });
    most = Math.max(most, ...processes.map(memory));
    return { most, took: Math.round(performance.now() - began) };
  } finally {
    clearInterval(sampling);
  }
}

const say = (what, { most, took }) => console.log(`${what}: ${(most / megabyte).toFixed(0)} MB at most, the last line after ${took} ms`);

await control(`print?bytes=${gigabyte}`);
await inBrowser(async (page, context) => {
  await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
  await page.goto(new URL('/c/dev/pods/default/web-0001', page.url()).href);
  await page.getByRole('button', { name: 'Show Logs' }).click();
  await page.locator('.xterm-rows').waitFor();
  let lines = Number(await control('print?bytes=128'));
  say('a log of 1 GB', await caughtUp(page, context, lines, 20_000));

  // As much of it as can be had.
  await page.locator('#container-lines-chooser').click();
  await page.getByRole('option').last().click();
  lines = Number(await control('print?bytes=128'));
  const all = await caughtUp(page, context, lines, 300_000);
  say('all lines of it', all);
  assert.ok(all.most < limit, `a log of 1 GB took ${all.most} bytes, want less than ${limit}`);

  lines = Number(await control(`print?bytes=${growth}`));
  const followed = await caughtUp(page, context, lines, 300_000);
  say(`${growth / megabyte} MB more while it was followed`, followed);
  assert.ok(followed.most < limit, `following ${growth} bytes took ${followed.most} bytes, want less than ${limit}`);
  lines = Number(await control('print?bytes=128'));
  say('one line more', await caughtUp(page, context, lines, 20_000));
  await shoot(page, 'logs');
});

// The logs of all pods of a workload, and then of one of them.
await inBrowser(async (page, context) => {
  await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
  await page.goto(new URL('/c/dev/deployments/default/web', page.url()).href);
  await page.getByRole('button', { name: 'Show logs' }).click();
  await page.locator('.xterm-rows').waitFor();
  let lines = Number(await control(`print?bytes=${128 * 1000}`));
  say('logs of three pods', await caughtUp(page, context, lines, 20_000));
  await control(`print?bytes=${10 * megabyte}`);
  lines = Number(await control('print?bytes=128'));
  const together = await caughtUp(page, context, lines, 90_000);
  say('10 MB more of each of three pods', together);
  assert.ok(together.most < limit, `logs of three pods took ${together.most} bytes, want less than ${limit}`);
  await page.getByRole('combobox').filter({ hasText: 'All Pods' }).click();
  await page.getByRole('option', { name: 'web-0001' }).click();
  for (const bytes of [128, 10 * megabyte, 128]) {
    lines = Number(await control(`print?bytes=${bytes}`));
    say(`${bytes} bytes more of one pod`, await caughtUp(page, context, lines, 90_000));
  }
});
