// What the scripts share: a browser that the dashboard has let in, and the world behind the page.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const chromiums = [process.env.SKIFF_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].filter(Boolean);

/** Changes the world behind the page, see browser_test.go. */
export async function control(command) {
  const answer = await fetch(`${process.env.SKIFF_CONTROL}/${command}`);
  assert.equal(answer.status, 200, command);
  return answer.text();
}

/** openBrowser at the page of the stand-ins. */
export async function inBrowser(test, options) {
  await openBrowser(await control('url'), test, options);
}

/** Opens an address in a new browser and hands the page to the test; what the page throws ends the test. */
export async function openBrowser(url, test, { scheme = 'light', width = 1440, height = 900, locale = 'en-US' } = {}) {
  const executablePath = chromiums.find(one => fs.existsSync(one));
  assert.ok(executablePath, `there is no Chromium: ${chromiums}; on Debian: apt install chromium`);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const problems = [];
  try {
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, locale });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('pageerror', error => problems.push(`error: ${error.stack ?? error}`));
    page.on('console', message => {
      if (message.type() === 'error' && /Content.Security.Policy|Refused to|violates/i.test(message.text())) problems.push(message.text());
    });
    page.on('request', request => {
      const { hostname, protocol } = new URL(request.url());
      if (['http:', 'https:', 'ws:'].includes(protocol) && hostname !== 'skiff.localhost') problems.push(`a request to ${request.url()}`);
    });
    await page.goto(url);
    await page.waitForURL(there => there.pathname !== '/open');
    try {
      await test(page, context);
    } catch (error) {
      await shoot(page, 'failed').catch(() => undefined);
      throw error;
    }
  } finally {
    await browser.close();
  }
  assert.deepEqual(problems, []);
}

/** Waits until something holds, and says how long that took (ms). */
export async function within(limit, what, check) {
  const began = performance.now();
  for (;;) {
    if (await check()) return Math.round(performance.now() - began);
    assert.ok(performance.now() - began < limit, `${what}: not within ${limit} ms`);
    await new Promise(done => setTimeout(done, 25));
  }
}

/** Replaces what an editor has, as from the clipboard: typed text would be indented by the editor. */
export async function paste(page, editor, text) {
  await editor.click();
  await page.keyboard.press('Control+A');
  await page.evaluate(text => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
}

/** Fails when axe finds something against WCAG 2 A or AA. */
export async function accessible(page, where) {
  await page.evaluate(`${axe}; undefined`);
  const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }));
  const lines = found.violations.map(one => `${where}: ${one.id} (${one.help}): ${one.nodes.slice(0, 4).map(node => `${node.html.slice(0, 200)} ${node.failureSummary?.replace(/\n/g, ' ').slice(0, 200)}`).join(' | ')}`);
  return lines;
}

export async function shoot(page, name) {
  await page.screenshot({ path: path.join(process.env.SKIFF_SCREENSHOTS, `${name}.png`) });
}
