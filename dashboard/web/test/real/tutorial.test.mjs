// The tutorial, done in the page alone, on a real cluster with ingress. SKIFF_URL is what `skiff dashboard --url` printed,
// SKIFF_ADDRESS the cluster's address, SKIFF_MANIFEST the manifest of 2019, SKIFF_SHELL a Pod in which a shell can be run. Objects
// of an earlier run are in the way of none.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import { openBrowser, paste, shoot, within } from '../browser/page.mjs';

const minute = 60_000;

/** The status of a GET that trusts any certificate: that of the entrance is the cluster's own. */
function get(url) {
  return new Promise(done => {
    const request = https.get(url, { rejectUnauthorized: false, timeout: 5000 }, answer => {
      answer.resume();
      done(answer.statusCode);
    });
    request.on('error', () => done(0));
    request.on('timeout', () => request.destroy());
  });
}

await openBrowser(process.env.SKIFF_URL, async page => {
  const navigation = page.getByRole('navigation', { name: 'Navigation' });
  await navigation.waitFor({ timeout: minute });
  const profile = new URL(page.url()).pathname.split('/')[2];
  const go = path => page.goto(new URL(`/c/${profile}${path}`, page.url()).href);
  const pods = () => page.getByRole('main').getByRole('link', { name: /^meow-/ });

  // The manifest is pasted, raised and applied.
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  const editor = page.getByRole('complementary').locator('.monaco-editor').first();
  await editor.waitFor();
  await paste(page, editor, fs.readFileSync(process.env.SKIFF_MANIFEST, 'utf8'));
  await within(10_000, 'the manifest can be applied', () => page.getByRole('button', { name: 'Apply', exact: true }).isEnabled());
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await page.getByText('extensions/v1beta1 -> apps/v1').first().waitFor({ timeout: minute });
  await shoot(page, 'real-raised');

  // Both Pods become Ready, and the entrance answers.
  await go('/pods?namespace=default');
  await within(3 * minute, 'two Pods are Ready', async () => (await page.getByRole('row').filter({ hasText: /meow-/ }).filter({ hasText: '1/1' }).count()) === 2);
  await shoot(page, 'real-pods');
  await within(minute, 'the entrance answers', async () => (await get(`https://${process.env.SKIFF_ADDRESS}/meow`)) === 200);

  // The log of each Pod, and a shell.
  const names = await pods().allInnerTexts();
  for (const name of names) {
    await go(`/pods/default/${name}`);
    await page.getByRole('button', { name: 'Show Logs' }).click();
    await page.getByRole('complementary').locator('.xterm-rows').getByText(/\S{3,}/).first().waitFor();
  }
  await shoot(page, 'real-log');
  await go(`/pods/default/${process.env.SKIFF_SHELL}`);
  await page.getByRole('button', { name: /Terminal/ }).click();
  const terminal = page.getByRole('complementary').locator('.xterm').last();
  await terminal.waitFor();
  await within(minute, 'the shell answers', async () => {
    await terminal.click();
    await page.keyboard.type('echo shell-$((40+2))\n');
    await page.waitForTimeout(1000);
    return page.getByText('shell-42').first().isVisible();
  });
  await shoot(page, 'real-shell');

  // A port of this computer that leads to a Pod; another one on the same port is refused.
  const forward = port =>
    page.evaluate(
      async ([profile, pod, port]) => {
        const answer = await fetch(`/clusters/${profile}/portforward`, { method: 'POST', body: JSON.stringify({ namespace: 'default', pod, targetPort: '3000', port }) });
        return { status: answer.status, body: await answer.json() };
      },
      [profile, names[0], port]
    );
  const first = await forward('');
  assert.equal(first.status, 200, JSON.stringify(first.body));
  assert.equal((await fetch(`http://127.0.0.1:${first.body.port}/`)).status, 200);
  const second = await forward(first.body.port);
  assert.equal(second.status, 409);
  assert.match(second.body.message, /is taken/);
  await go('/portforwards');
  await page.getByRole('row').filter({ hasText: first.body.port }).waitFor();
  await shoot(page, 'real-port-forward');

  // Four Pods.
  await go('/deployments/default/meow');
  await page.getByRole('button', { name: 'Scale' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Increment' }).click();
  await dialog.getByRole('button', { name: 'Increment' }).click();
  await dialog.getByRole('button', { name: /Apply|Scale|Yes/ }).click();
  // It can be cancelled for some seconds, and is when the page is left.
  await within(minute, 'four are wanted', () =>
    page.evaluate(async profile => (await (await fetch(`/clusters/${profile}/apis/apps/v1/namespaces/default/deployments/meow/scale`)).json()).spec.replicas === 4, profile)
  );
  await go('/pods?namespace=default');
  await within(2 * minute, 'four Pods are Ready', async () => (await page.getByRole('row').filter({ hasText: /meow-/ }).filter({ hasText: '1/1' }).count()) === 4);

  // Every part of the cluster is healthy.
  await go('/control-plane');
  await within(minute, 'seven parts are healthy', async () => (await page.getByText('Healthy', { exact: true }).count()) === 7);
  await shoot(page, 'real-control-plane');
  await go('/start-here');
  await within(minute, 'all five steps are done', async () => (await page.getByRole('img', { name: 'Done' }).count()) === 5);
  await shoot(page, 'real-start-here');
  assert.equal(new URL(page.url()).hostname, 'skiff.localhost');
});
