// Working with a cluster, and what happens when it goes away in the middle.
import assert from 'node:assert/strict';
import { control, inBrowser, shoot, within } from './page.mjs';

const banner = page => page.getByRole('alert').filter({ hasText: 'The API server does not answer' });
const nav = page => page.getByRole('navigation', { name: 'Navigation' });

await inBrowser(async page => {
  await nav(page).waitFor();
  assert.equal(new URL(page.url()).pathname, '/c/dev', 'the page of the cluster');

  await nav(page).getByText('Map', { exact: true }).waitFor();
  const entries = (await nav(page).innerText()).split('\n').filter(Boolean);
  assert.deepEqual(entries.slice(0, 5), ['Start here', 'Control plane', 'Addons', 'Snapshots', 'Clusters'], 'the pages of skiff stand first');

  // Lists follow the cluster.
  await page.goto(new URL('/c/dev/pods', page.url()).href);
  await page.getByRole('link', { name: 'web-0001' }).waitFor();
  await control('add-pod?name=added');
  await page.getByRole('link', { name: 'added', exact: true }).waitFor();

  // They do so when the API server would have ended the watch of a client that does not say how long it wants one. A page that is
  // drawn again would be right, too, but lose what somebody does in it.
  const watches = await control('request-timeout?path=api/v1/pods');
  await control('add-pod?name=later');
  await page.getByRole('link', { name: 'later', exact: true }).waitFor();
  assert.equal(await control('request-timeout?path=api/v1/pods'), watches, 'no watch of Pods has begun again');

  // The API server is killed while an editor is open: a banner within two seconds, and what was typed stays.
  await page.goto(new URL('/c/dev/configmaps/default/settings', page.url()).href);
  await page.getByRole('button', { name: 'Edit' }).click();
  const editor = page.getByRole('complementary', { name: /Edit/ }).locator('.monaco-editor').first();
  await editor.waitFor();
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('# not saved yet');
  const typed = () => page.getByText('# not saved yet').first().isVisible();
  await within(5000, 'the text is in the editor', typed);
  await shoot(page, 'editor');
  await control('stop-api');
  const gone = await within(2000, 'a banner when the API server was killed', () => banner(page).isVisible());
  await shoot(page, 'api-server-away');
  assert.ok(await typed(), 'what was typed is there without an API server');

  // It returns with another Pod: the right list within three seconds.
  await control('add-pod?name=while-away');
  await control('start-api');
  const back = await within(3000, 'the banner goes when the API server returns', async () => !(await banner(page).isVisible()));
  assert.ok(await typed(), 'what was typed is there afterwards');
  console.log(`banner ${gone} ms after the kill, gone ${back} ms after the return`);

  // Somebody else changes the object: saving shows both sides.
  await control('touch-settings');
  await page.getByRole('button', { name: 'Save & Apply' }).click();
  await page.getByText('Left is what it is now').waitFor({ timeout: 30_000 });
  await page.getByText('colour: red').first().waitFor();
  await page.getByText('colour: green').first().waitFor();
  await shoot(page, 'conflict');
});

await inBrowser(async page => {
  await nav(page).waitFor();
  await page.goto(new URL('/c/dev/pods', page.url()).href);
  await page.getByRole('link', { name: 'while-away' }).waitFor();
  await control('stop-api');
  await within(2000, 'a banner', () => banner(page).isVisible());
  await control('add-pod?name=second');
  await control('start-api');
  const right = await within(3000, 'the list is right when the API server returns', () => page.getByRole('link', { name: 'second', exact: true }).isVisible());
  console.log(`list right ${right} ms after the return`);
});

await inBrowser(async page => {
  await nav(page).waitFor();
  // Invalid YAML names line and column; a manifest of 2019 is raised, and said.
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  const editor = page.getByRole('complementary').locator('.monaco-editor').first();
  await editor.waitFor();
  const write = async text => {
    await editor.click();
    await page.keyboard.press('Control+A');
    await page.keyboard.insertText(text);
  };
  // A manifest comes from a file or the clipboard: the page cannot fetch an address elsewhere, and does not offer to.
  await page.getByRole('button', { name: 'Upload File' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Select File' }).waitFor();
  assert.equal(await page.getByText(/URL/).count(), 0, 'an upload from an address is offered');
  await page.getByRole('dialog').locator('input[type=file]').setInputFiles({ name: 'a.yaml', mimeType: 'application/yaml', buffer: Buffer.from('kind: FromFile\n') });
  await page.getByRole('dialog').getByRole('button', { name: 'Load' }).click();
  await editor.getByText('FromFile').waitFor();
  await write('apiVersion: v1\nkind: [\n');
  await page.getByText(/\(\d+:\d+\)/).first().waitFor();
  await shoot(page, 'invalid-yaml');
  await write('apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}\n');
  await within(5000, 'the text can be applied', () => page.getByRole('button', { name: 'Apply', exact: true }).isEnabled());
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await page.getByText('extensions/v1beta1 -> apps/v1').first().waitFor({ timeout: 30_000 });
  await shoot(page, 'raised');
});

await inBrowser(async page => {
  await nav(page).waitFor();
  // The cluster is stopped while the page is open: the page says so, offers Start, and continues by itself.
  await control('state?host=Stopped');
  await page.getByRole('heading', { name: 'The cluster is stopped' }).waitFor();
  await shoot(page, 'stopped');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await within(5000, 'the start reaches skiff', async () => (await control('calls')).includes('start'));
  await control('state?host=Paused');
  await page.getByRole('heading', { name: 'The cluster is paused' }).waitFor();
  await control('state?host=Nonexistent');
  await page.getByRole('heading', { name: 'The cluster was deleted' }).waitFor();
  await control('state?host=Running&api=Running');
  await nav(page).waitFor();

  // Addons and snapshots are skiff's own.
  await page.goto(new URL('/c/dev/addons', page.url()).href);
  await page.getByRole('button', { name: 'Disable' }).click();
  await within(5000, 'the addon is disabled', async () => (await control('calls')).includes('disable ingress'));
  await page.goto(new URL('/c/dev/snapshots', page.url()).href);
  await page.getByLabel('Name').fill('clean');
  await page.getByRole('button', { name: 'Save' }).click();
  await within(5000, 'the snapshot is saved', async () => (await control('calls')).includes('save clean'));

  // The steps that are done are said to be: ingress is enabled and a Deployment is ready. A screen reader hears it.
  await page.goto(new URL('/c/dev/start-here', page.url()).href);
  await within(10_000, 'two steps are done', async () => (await page.getByRole('img', { name: 'Done', exact: true }).count()) === 2);
  assert.equal(await page.getByRole('img', { name: 'To do', exact: true }).count(), 3);

  // The keyboard.
  await page.getByRole('heading', { name: 'Start here' }).click();
  await page.keyboard.type('gc');
  await page.getByRole('heading', { name: 'Control plane' }).first().waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('g c').waitFor();
  await shoot(page, 'keyboard');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.keyboard.press('/');
  await page.getByRole('combobox').fill('web-0002');
  await page.getByRole('option', { name: 'default/web-0002' }).waitFor();
  await shoot(page, 'search');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /web-0002/ }).waitFor();

  await page.getByRole('button', { name: '简体中文' }).click();
  await page.getByRole('navigation').getByText('控制平面').waitFor();
  await shoot(page, 'chinese');
});

await inBrowser(
  async page => {
    await page.getByRole('navigation').getByText('控制平面').waitFor();
  },
  { locale: 'zh-CN' }
);
