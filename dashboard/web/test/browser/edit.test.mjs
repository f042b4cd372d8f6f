// Changing an object that exists: in the editor, and its replicas.
import assert from 'node:assert/strict';
import { accessible, inBrowser, paste, shoot, within } from './page.mjs';

await inBrowser(async page => {
  await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
  const read = path => page.evaluate(async path => (await fetch(`/clusters/dev/${path}`)).json(), path);
  const web = 'apis/apps/v1/namespaces/default/deployments/web';
  const edit = () => page.getByRole('complementary', { name: /Edit/ });
  const editor = () => edit().locator('.monaco-editor').first();
  const open = async () => {
    await page.goto(new URL('/c/dev/deployments/default/web', page.url()).href);
    await page.getByRole('button', { name: 'Edit' }).click();
    await editor().waitFor();
  };
  const write = text => paste(page, editor(), text);
  const save = async () => {
    await within(20_000, 'the text can be saved', () => edit().getByRole('button', { name: 'Save & Apply' }).isEnabled());
    await edit().getByRole('button', { name: 'Save & Apply' }).click();
  };

  // A manifest of 2019, pasted over the text, is raised, and said; it names neither namespace nor resourceVersion.
  await open();
  await write(
    'apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: web, labels: {app: web, team: cats}}\n' +
      'spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: example.com/web:2}]}}}\n'
  );
  await save();
  await page.getByText('Applying changes to web').waitFor();
  await page.getByText('extensions/v1beta1 -> apps/v1').first().waitFor({ timeout: 30_000 });
  await page.waitForTimeout(700); // until the messages have faded in
  await shoot(page, 'edit-raised');
  assert.deepEqual(await accessible(page, 'messages'), []);
  let deployment = await read(web);
  assert.equal(deployment.apiVersion, 'apps/v1');
  assert.equal(deployment.spec.template.spec.containers[0].image, 'example.com/web:2');
  await edit().waitFor({ state: 'detached' });

  // What is no longer in the text is gone.
  await open();
  delete deployment.metadata.labels.team;
  await write(JSON.stringify(deployment, null, 2));
  await save();
  await page.getByText('Applied changes to web').waitFor({ timeout: 30_000 });
  deployment = await read(web);
  assert.deepEqual(deployment.metadata.labels, { app: 'web' });

  // An edit that is cancelled, or refused, comes back into view with what was typed.
  await open();
  await write(JSON.stringify({ ...deployment, spec: { ...deployment.spec, colour: 'green' } }, null, 2));
  await save();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('Cancelled changes to web').waitFor();
  await editor().waitFor();
  await save();
  await edit().getByText('unknown field "spec.colour"').waitFor({ timeout: 30_000 });
  assert.ok(await editor().getByText('colour').first().isVisible(), 'the text that was refused is in the editor');
  await shoot(page, 'edit-refused');
  // So does one whose editor was closed before it was refused.
  await save();
  await page.getByText('Applying changes to web').waitFor();
  await page.getByRole('button', { name: 'Close', exact: true }).last().click();
  const refused = page.getByRole('complementary', { name: /Not saved/ });
  await refused.getByText('unknown field "spec.colour"').waitFor({ timeout: 30_000 });
  await refused.getByText('colour').first().waitFor();
  await shoot(page, 'edit-closed');
  await open();
  await write(JSON.stringify({ ...deployment, metadata: { ...deployment.metadata, name: 'other' } }, null, 2));
  await save();
  await edit().getByText('This editor is of Deployment web').waitFor({ timeout: 30_000 });
  assert.equal((await read(web)).metadata.resourceVersion, deployment.metadata.resourceVersion, 'nothing was changed');

  // A ReplicationController is scaled from its page.
  await page.goto(new URL('/c/dev/replicationcontrollers/default/old', page.url()).href);
  await page.getByRole('button', { name: 'Scale' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Increment' }).click();
  await dialog.getByRole('button', { name: 'Increment' }).click();
  await shoot(page, 'scale');
  await dialog.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('Scaled old').waitFor({ timeout: 30_000 });
  assert.equal((await read('api/v1/namespaces/default/replicationcontrollers/old')).spec.replicas, 3);
  await page.getByRole('main').getByText('3 / 3').waitFor();

  // What is deleted is left for the list it was in.
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: /Yes|Delete/ }).click();
  await page.getByText('Deleted item old').waitFor({ timeout: 30_000 });
  await page.waitForURL(there => there.pathname === '/c/dev/replicationcontrollers');
});
