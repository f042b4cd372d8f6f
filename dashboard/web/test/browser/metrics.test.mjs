// What is measured is shown when there is something that measures, and an addon that does is one click away.
import assert from 'node:assert/strict';
import { accessible, control, inBrowser, shoot, within } from './page.mjs';

const nav = (page, name = 'Navigation') => page.getByRole('navigation', { name });
const button = page => page.getByRole('button', { name: 'Enable metrics' });
const column = (page, name) => page.getByRole('columnheader', { name: new RegExp(`^${name}`) });
const chart = (page, name) => page.getByRole('main').getByText(`${name} Usage`);

// Each page that shows measured values, what is on it in any case, and what of it is measured.
const pages = [
  ['overview', '/c/dev', page => page.getByRole('main').getByText('Pods', { exact: true }), page => [chart(page, 'CPU'), chart(page, 'Memory')]],
  ['nodes', '/c/dev/nodes', page => page.getByRole('link', { name: 'skiff' }), page => [column(page, 'CPU'), column(page, 'Memory')]],
  ['node', '/c/dev/nodes/skiff', page => page.getByRole('main').getByText('Uptime'), page => [chart(page, 'CPU'), chart(page, 'Memory')]],
  ['pods', '/c/dev/pods', page => page.getByRole('link', { name: 'web-0001' }), page => [column(page, 'CPU'), column(page, 'Memory')]],
];

/** Opens a page, and waits until the API server has said what is measured. */
async function open(page, [, path, sign]) {
  // Not waitForResponse and finished(): that waits for ever when the request was one of the page before, which is gone.
  const asked = page.waitForEvent('requestfinished', request => /metrics\.k8s\.io\/v1beta1/.test(request.url()));
  await page.goto(new URL(path, page.url()).href);
  await sign(page).first().waitFor();
  await asked;
}

await inBrowser(async page => {
  await nav(page).waitFor();
  for (const how of ['', 'no answer', 'nothing yet']) {
    await control(`measure?how=${encodeURIComponent(how)}`);
    for (const one of pages) {
      await open(page, one);
      for (const measured of one[3](page)) assert.equal(await measured.count(), 0, `${one[0]}, where "${how}" is measured: ${measured}`);
      assert.equal(await page.getByRole('alert').count(), 0, `${one[0]}, where "${how}" is measured, says that something is wrong`);
      assert.equal(await button(page).count(), 0, `${one[0]} offers an addon that the catalog has not`);
    }
  }
  await shoot(page, 'metrics-absent');

  // Something measures: values are shown.
  await control('measure?how=yes');
  for (const one of pages) {
    await open(page, one);
    for (const measured of one[3](page)) await measured.first().waitFor();
    await shoot(page, `metrics-${one[0]}`);
  }
  await page.getByRole('cell', { name: /250/ }).first().waitFor();

  // The catalog has an addon, and the cluster measures without it.
  await control('catalog?name=metrics-server');
  for (const one of pages) {
    await open(page, one);
    for (const measured of one[3](page)) await measured.first().waitFor();
    assert.equal(await button(page).count(), 0, `${one[0]} offers an addon for what is measured already`);
  }

  // It does not: the addon is offered.
  await control('measure?how=');
  for (const one of pages.filter(([name]) => name !== 'node')) {
    await open(page, one);
    await button(page).waitFor();
    assert.deepEqual(await accessible(page, one[0]), []);
    await shoot(page, `metrics-offered-${one[0]}`);
  }
});

await inBrowser(
  async page => {
    await nav(page, '导航').waitFor();
    await page.goto(new URL('/c/dev/pods', page.url()).href);
    await page.getByRole('button', { name: '启用指标' }).waitFor();
  },
  { locale: 'zh-CN' }
);

await inBrowser(async page => {
  await nav(page).waitFor();
  await open(page, pages.at(-1));
  // A click enables it, shows how that goes, and then the values, without a reload.
  await control('hold');
  await button(page).click();
  await page.getByRole('main').getByText('Do enable metrics-server').waitFor();
  await within(5000, 'skiff enables the addon', async () => (await control('calls')).includes('enable metrics-server'));
  await control('measure?how=yes');
  await control('release');
  await button(page).waitFor({ state: 'detached' });
  for (const measured of pages.at(-1)[3](page)) await measured.first().waitFor();
  await page.getByText('Do enable metrics-server').waitFor({ state: 'detached' });
});
