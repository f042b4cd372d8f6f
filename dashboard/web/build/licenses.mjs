// The notices of everything that is bundled, in one file beside the page; `skiff dashboard --licenses` prints it.
import fs from 'node:fs';
import path from 'node:path';

/** The folder of the package that a module belongs to. */
function packageOf(file) {
  let folder = path.dirname(file);
  while (folder.includes('node_modules')) {
    const manifest = path.join(folder, 'package.json');
    if (fs.existsSync(manifest)) {
      const { name, version } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
      if (name && version) return folder; // some folders have one that only says which kind of modules they hold
    }
    folder = path.dirname(folder);
  }
  return undefined;
}

export function notices(modules) {
  const folders = new Set();
  for (const module of modules) {
    const file = module.replace(/^\0+/, '').split('?')[0];
    if (!file.includes('/node_modules/')) continue;
    const folder = packageOf(file);
    if (folder) folders.add(folder);
  }
  const parts = [];
  for (const folder of folders) {
    const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const license = typeof manifest.license === 'object' ? manifest.license?.type : manifest.license ?? manifest.licenses?.map(one => one.type).join(' OR ');
    const texts = fs
      .readdirSync(folder)
      .filter(name => /^(licen[cs]e|notice|copying|thirdpartynotices)/i.test(name) && fs.statSync(path.join(folder, name)).isFile())
      .sort()
      .map(name => fs.readFileSync(path.join(folder, name), 'utf8').trim());
    const author = typeof manifest.author === 'object' ? manifest.author?.name : manifest.author;
    const repository = typeof manifest.repository === 'object' ? manifest.repository?.url : manifest.repository;
    const body = texts.length > 0 ? texts.join('\n\n') : [author && `By ${author}.`, repository && `From ${repository}.`].filter(Boolean).join('\n');
    if (!license && texts.length === 0) throw new Error(`${folder} has no licence`);
    parts.push({ name: `${manifest.name} ${manifest.version}`, license: license ?? 'see below', body });
  }
  parts.sort((a, b) => (a.name < b.name ? -1 : 1));
  return parts;
}

export function licenses() {
  return {
    name: 'skiff-licenses',
    generateBundle(_, bundle) {
      const modules = new Set(['/node_modules/@iconify/icons-mdi/'].flatMap(() => []));
      for (const chunk of Object.values(bundle)) if (chunk.type === 'chunk') Object.keys(chunk.modules).forEach(one => modules.add(one));
      for (const one of this.getModuleIds()) if (one.includes('icons-mdi')) modules.add(one);
      modules.add(path.resolve('node_modules/@iconify/icons-mdi/index.js'));
      modules.add(path.resolve('node_modules/monaco-editor/index.js')); // its worker is a bundle of its own
      const parts = notices(modules);
      const rule = '='.repeat(80);
      const text =
        `The page of skiff dashboard is made of these ${parts.length} packages, and of skiff's own text under the Apache License 2.0.\n\n` +
        parts.map(one => `${one.name}: ${one.license}`).join('\n') +
        '\n\n' +
        parts.map(one => `${rule}\n${one.name}: ${one.license}\n${rule}\n\n${one.body}\n`).join('\n');
      this.emitFile({ type: 'asset', fileName: 'licenses.txt', source: text });
    },
  };
}
