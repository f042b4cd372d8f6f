// Every page of ours and some of Headlamp's, light and dark: axe finds nothing, and pictures of them are written.
import assert from 'node:assert/strict';
import { accessible, inBrowser, shoot } from './page.mjs';

const pages = [
  ['overview', '/c/dev', 'Overview'],
  ['start-here', '/c/dev/start-here', 'Start here'],
  ['control-plane', '/c/dev/control-plane', 'Control plane'],
  ['addons', '/c/dev/addons', 'Addons'],
  ['snapshots', '/c/dev/snapshots', 'Snapshots'],
  ['controllers', '/c/dev/replicationcontrollers', 'old'],
  ['controller', '/c/dev/replicationcontrollers/default/old', 'old'],
  ['pods', '/c/dev/pods', 'web-0001'],
  ['pod', '/c/dev/pods/default/web-0001', 'web-0001'],
  ['deployment', '/c/dev/deployments/default/web', 'web'],
  ['services', '/c/dev/services', 'web'],
  ['nodes', '/c/dev/nodes', 'skiff'],
  ['map', '/c/dev/map', 'default'],
  ['port-forwards', '/c/dev/portforwards', 'Port Forwarding'],
  ['settings', '/settings/general', 'General'],
];

const found = [];
for (const scheme of ['light', 'dark']) {
  await inBrowser(
    async page => {
      await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
      for (const [name, path, text] of pages) {
        await page.goto(new URL(path, page.url()).href);
        await page.getByRole('main').getByText(text).first().waitFor();
        await page.waitForTimeout(700); // fade-ins change colours, which axe would take for a lack of contrast
        await shoot(page, `${name}-${scheme}`);
        found.push(...(await accessible(page, `${name}, ${scheme}`)));
      }
    },
    { scheme }
  );
}
console.log(found.join('\n'));
assert.deepEqual(found, []);
