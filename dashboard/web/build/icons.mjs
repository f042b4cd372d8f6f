// The icons that the page names, as a collection of its own: by default each icon is fetched from a server in the net when it
// is shown first.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
const id = 'virtual:icons';

function* sources(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(full);
    else if (/\.(js|ts|tsx)$/.test(entry.name) && !entry.name.endsWith('.d.ts')) yield full;
  }
}

export function collect(...folders) {
  const icons = {};
  const missing = [];
  for (const folder of folders) {
    for (const file of sources(folder)) {
      for (const [, name] of fs.readFileSync(file, 'utf8').matchAll(/\bmdi:([a-z0-9-]+)/g)) {
        if (icons[name] || missing.includes(name)) continue;
        try {
          icons[name] = { body: require(`@iconify/icons-mdi/${name}`).default.body };
        } catch {
          missing.push(name);
        }
      }
    }
  }
  if (Object.keys(icons).length < 50) throw new Error(`only ${Object.keys(icons).length} icons were found in ${folders}`);
  return { icons, missing };
}

export function icons(...folders) {
  return {
    name: 'skiff-icons',
    resolveId: source => (source === id ? `\0${id}` : null),
    load(source) {
      if (source !== `\0${id}`) return null;
      const { icons, missing } = collect(...folders);
      const ours = missing.filter(name => fs.existsSync(path.join(folders[1], 'icons.ts')) && fs.readFileSync(path.join(folders[1], 'icons.ts'), 'utf8').includes(`mdi:${name}`));
      if (ours.length > 0) throw new Error(`there are no icons ${ours}`);
      return `export default ${JSON.stringify({ prefix: 'mdi', icons, width: 24, height: 24 })};`;
    },
  };
}
