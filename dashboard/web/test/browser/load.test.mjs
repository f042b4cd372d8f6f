// A cluster that is large and busy: 5,000 Pods, and 200 changes a second.
import assert from 'node:assert/strict';
import { memory, renderers } from './memory.mjs';
import { control, inBrowser, within } from './page.mjs';

await control('fill?pods=5000');
await inBrowser(async (page, context) => {
  await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
  const pods = page.getByRole('link', { name: /^web-\d{4}$/ }).first();
  const address = new URL('/c/dev/pods', page.url()).href;
  let began = performance.now();
  await page.goto(address);
  await pods.waitFor();
  const cold = Math.round(performance.now() - began);
  await page.getByRole('navigation').getByText('Deployments').click();
  await page.getByRole('main').getByRole('link', { name: 'web', exact: true }).waitFor();
  began = performance.now();
  await page.getByRole('navigation').getByText('Pods', { exact: true }).click();
  await pods.waitFor();
  const warm = Math.round(performance.now() - began);
  const size = Math.max(...(await renderers(context)).map(memory));
  console.log(`5,000 Pods: ${cold} ms cold, ${warm} ms by navigation, ${(size / 1_000_000).toFixed(0)} MB`);
  // The bounds are for a computer that does nothing else; a test runs beside others.
  const patience = Number(process.env.SKIFF_PATIENCE ?? 3);
  assert.ok(cold < 2000 * patience, `5,000 Pods took ${cold} ms, want ${2000 * patience}`);
  assert.ok(warm < 1000 * patience, `5,000 Pods took ${warm} ms by navigation, want ${1000 * patience}`);

  // 200 changes a second for ten seconds; each says its number in the restarts of a Pod that is at the top of the list.
  const rate = 200;
  const seconds = 10;
  await page.goto(`${address}?namespace=default`);
  await pods.waitFor();
  await control('add-pod?name=storm-00');
  await page.getByRole('link', { name: 'storm-00' }).waitFor();
  const storm = control(`storm?rate=${rate}&seconds=${seconds}`);
  began = performance.now();
  let behind = 0;
  const newest = () =>
    page.evaluate(() => {
      const rows = [...document.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.textContent));
      const restarts = rows[0].findIndex(text => text.startsWith('Restarts'));
      return Math.max(-1, ...rows.filter(cells => cells.some(text => /^storm-\d\d$/.test(text))).map(cells => parseInt(cells[restarts], 10)));
    });
  for (let ended = false; !ended; ) {
    const due = Math.min(((performance.now() - began) / 1000) * rate, rate * seconds - 1);
    behind = Math.max(behind, (due - (await newest())) / rate);
    ended = await Promise.race([storm.then(() => true), new Promise(done => setTimeout(done, 500, false))]);
  }
  // Five of the twenty Pods are on the next page of the list.
  const late = await within(10_000, 'the last of 2,000 changes is on the page', async () => (await newest()) >= rate * seconds - 20);
  console.log(`200 changes a second: at most ${behind.toFixed(1)} s behind, the last one ${late} ms after it`);
  assert.ok(behind < 10, `the page was ${behind} s behind, want less than 10`);
});
