// What happens to a real cluster while the page is open: a rollout and its roll back, a drained node, an addon, a snapshot, an API
// server that is killed, a stop and a start. It begins with what tutorial.test.mjs left; SKIFF is the program.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { openBrowser, shoot, within } from '../browser/page.mjs';

const minute = 60_000;
const run = promisify(execFile);
const skiff = async (...args) => (await run(process.env.SKIFF, args)).stdout.trim();
const kubectl = (...args) => skiff('kubectl', '--', ...args);

await openBrowser(process.env.SKIFF_URL, async page => {
  const navigation = page.getByRole('navigation', { name: 'Navigation' });
  const main = page.getByRole('main');
  const banner = page.getByRole('alert').filter({ hasText: 'The API server does not answer' });
  await navigation.waitFor({ timeout: minute });
  const profile = new URL(page.url()).pathname.split('/')[2];
  const go = path => page.goto(new URL(`/c/${profile}${path}`, page.url()).href);
  const ready = () => main.getByRole('row').filter({ hasText: /meow-/ }).filter({ hasText: '1/1' }).count();

  // A restart makes a second revision, and a roll back the template of the first again.
  await go('/deployments/default/meow');
  await page.getByRole('button', { name: 'Restart', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restart', exact: true }).click();
  const restarted = async () => (await kubectl('get', 'deployment', 'meow', '-o', 'jsonpath={.spec.template.metadata.annotations}')).includes('restartedAt');
  await within(minute, 'the Deployment is restarted', restarted);
  await kubectl('rollout', 'status', 'deployment/meow', '--timeout=3m');
  await page.getByRole('button', { name: 'Rollback', exact: true }).click();
  const revisions = page.getByRole('dialog');
  await revisions.getByText(/Revision/i).first().waitFor();
  await shoot(page, 'real-roll-back');
  await revisions.getByRole('button', { name: 'Rollback', exact: true }).click();
  await within(minute, 'the Deployment is rolled back', async () => !(await restarted()));
  await kubectl('rollout', 'status', 'deployment/meow', '--timeout=3m');

  // A snapshot, a Deployment deleted in the page, and the snapshot restored while the page is open.
  await go('/snapshots');
  await page.getByLabel('Name').fill('page');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('row').filter({ hasText: 'page' }).waitFor({ timeout: minute });
  await within(minute, 'the snapshot is saved', () => page.getByRole('row').filter({ hasText: 'page' }).getByRole('button', { name: 'Restore', exact: true }).isEnabled());
  await shoot(page, 'real-snapshots');
  await go('/deployments/default/meow');
  await page.getByRole('button', { name: 'Delete', exact: true }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: /Yes|Delete/ }).click();
  await within(minute, 'the Deployment is deleted', async () => (await kubectl('get', 'deployment', 'meow', '--ignore-not-found')) === '');
  await go('/snapshots');
  await page.getByRole('row').filter({ hasText: 'page' }).getByRole('button', { name: 'Restore', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restore', exact: true }).click();
  await within(2 * minute, 'the Deployment is back', async () => (await kubectl('get', 'deployment', 'meow', '--ignore-not-found').catch(() => '')) !== '');
  await within(minute, 'the page has seen the end of it', () => page.getByRole('row').filter({ hasText: 'page' }).getByRole('button', { name: 'Delete', exact: true }).isEnabled());
  await page.getByRole('row').filter({ hasText: 'page' }).getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('There are no snapshots.').waitFor({ timeout: minute });

  // The API server is killed: a banner within two seconds, and the right list within three seconds of its return.
  await go('/pods?namespace=default');
  await within(2 * minute, 'four Pods are Ready', async () => (await ready()) === 4);
  await skiff('ssh', '--', 'pkill', '-KILL', '-x', 'kube-apiserver');
  const gone = await within(2000, 'a banner when the API server was killed', () => banner.isVisible());
  await shoot(page, 'real-api-server-away');
  await within(2 * minute, 'the API server answers again', () =>
    page.evaluate(async profile => (await fetch(`/clusters/${profile}/readyz`).catch(() => ({ ok: false }))).ok, profile)
  );
  const back = await within(3000, 'the list is right', async () => !(await banner.isVisible()) && (await ready()) === 4);
  console.log(`banner ${gone} ms after the kill, list right ${back} ms after the return`);

  // The node is drained: nothing of the example runs, until it may be used again.
  const node = await kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}');
  const unschedulable = async () => (await kubectl('get', 'node', node, '-o', 'jsonpath={.spec.unschedulable}')) === 'true';
  await go(`/nodes/${node}`);
  await page.getByRole('button', { name: 'Drain', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Yes', exact: true }).click();
  await within(minute, 'the node takes no more Pods', unschedulable);
  await within(3 * minute, 'the Pods of the example were evicted', async () => (await kubectl('get', 'pods', '--field-selector=status.phase=Running', '-o', 'name')) === '');
  await page.getByText('Scheduling Disabled').first().waitFor({ timeout: minute });
  await shoot(page, 'real-drained');
  await page.getByRole('button', { name: 'Uncordon', exact: true }).click();
  await within(minute, 'the node takes Pods again', async () => !(await unschedulable()));
  await go('/pods?namespace=default');
  await within(3 * minute, 'four Pods are Ready after the drain', async () => (await ready()) === 4);

  // An addon is disabled and enabled.
  await go('/addons');
  const ingress = page.getByRole('region', { name: 'ingress' });
  await ingress.getByRole('button', { name: 'Disable', exact: true }).click();
  await ingress.getByText('Disabled').waitFor({ timeout: 2 * minute });
  await ingress.getByRole('button', { name: 'Enable', exact: true }).click();
  await ingress.getByRole('status').waitFor();
  await shoot(page, 'real-addon');
  await ingress.getByText('Enabled').waitFor({ timeout: 3 * minute });

  // It is stopped by another terminal, says so, and is started in the page.
  await go('/pods?namespace=default');
  await navigation.waitFor();
  await skiff('stop');
  await page.getByRole('heading', { name: 'The cluster is stopped' }).waitFor();
  await shoot(page, 'real-stopped');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  const began = performance.now();
  await navigation.waitFor({ timeout: 2 * minute });
  await within(minute, 'four Pods are in the list', async () => (await ready()) === 4);
  console.log(`started in the page: the list after ${Math.round(performance.now() - began)} ms`);
  assert.equal(new URL(page.url()).pathname, `/c/${profile}/pods`);
});
