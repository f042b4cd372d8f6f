// Every page of ours and some of Headlamp's, light and dark, in English and Chinese, on screens of 1024 pixels to 4K: axe finds nothing,
// everything can be read, and pictures are written.
import assert from 'node:assert/strict';
import { layout } from './layout.mjs';
import { accessible, inBrowser, shoot } from './page.mjs';

const screens = [
  [1024, 768],
  [1920, 1080],
  [3840, 2160],
];
const usual = [1440, 900];

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
  ['deployments', '/c/dev/deployments', 'web'],
  ['deployment', '/c/dev/deployments/default/web', 'web'],
  ['services', '/c/dev/services', 'web'],
  ['nodes', '/c/dev/nodes', 'skiff'],
  ['map', '/c/dev/map', 'default'],
  ['port-forwards', '/c/dev/portforwards', 'Port Forwarding'],
  ['settings', '/settings/general', 'General'],
];

const found = [];
const own = ['start-here', 'control-plane', 'addons', 'snapshots', 'controllers'];

await inBrowser(
  async page => {
    // Colours that fade in would be a lack of contrast to axe. What is drawn next may begin to fade, so two frames are waited for first.
    const settled = () =>
      page.evaluate(async () => {
        for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
        const ends = document.getAnimations().filter(one => one.effect.getComputedTiming().iterations !== Infinity);
        await Promise.allSettled(ends.map(one => one.finished));
      });
    const press = async name => {
      await page.getByRole('banner').getByRole('button', { name, exact: true }).click();
      await page.mouse.move(0, 0);
    };
    const look = async (picture, ...checks) => {
      await settled();
      await shoot(page, picture);
      for (const check of checks) found.push(...(await check(page, picture)));
    };
    await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
    for (const [name, path, text] of pages) {
      await page.goto(new URL(path, page.url()).href);
      await page.getByRole('main').getByText(text).first().waitFor();
      await look(`${name}-dark`, accessible);
      if (own.includes(name)) {
        await press('简体中文');
        await look(`${name}-dark-zh`, layout);
        await press('English');
      }
      await press('Light');
      await look(`${name}-light`, layout, accessible);
      for (const [width, height] of screens) {
        await page.setViewportSize({ width, height });
        await look(`${name}-light-${width}`, layout, ...(width === 1024 ? [accessible] : []));
      }
      await page.setViewportSize({ width: usual[0], height: usual[1] });
      await press('Dark');
    }
    // The measure finds what it looks for.
    await page.evaluate(() => {
      const bad = '<p style="width: 9999px">one</p><p style="width: 1ch; overflow: hidden; white-space: nowrap">two two</p><p style="width: 3ch; word-break: break-all">three</p><p style="white-space: nowrap">' +
        'four '.repeat(99) + '</p><div style="position: absolute">five</div><div style="position: absolute">six</div>';
      document.getElementById('main').insertAdjacentHTML('afterbegin', bad);
    });
    const bad = (await layout(page, 'bad')).join('\n');
    for (const want of [/the page is \d+ wide/, /"two two" is cut off/, /breaks within "three"/, /letters in a line/, /"five" and "six" lie on each other/]) assert.match(bad, want);
  },
  { scheme: 'dark', width: usual[0], height: usual[1] }
);
console.log(found.join('\n'));
assert.deepEqual(found, []);
