// A right that is missing is named, in the API server's words.
import { control, inBrowser, shoot } from './page.mjs';

await control('deny?resource=secrets');
await inBrowser(async page => {
  await page.getByRole('navigation', { name: 'Navigation' }).waitFor();
  await page.goto(new URL('/c/dev/secrets', page.url()).href);
  await page.getByText('cannot list resource "secrets"').first().waitFor();
  await shoot(page, 'forbidden');
});
