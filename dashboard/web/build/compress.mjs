// The built files go into the Go package, each compressed: they are embedded and sent as they are.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

// What the page may weigh (bytes, compressed): all that opens with the first page, and everything together.
const firstPage = 800_000;
const everything = 3_000_000;

export function compress(to) {
  return {
    name: 'skiff-compress',
    apply: 'build',
    writeBundle(options, bundle) {
      for (const entry of fs.readdirSync(to)) if (entry !== '.gitignore') fs.rmSync(path.join(to, entry), { recursive: true });
      const sizes = {};
      const files = [];
      const walk = folder => {
        for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
          const full = path.join(folder, entry.name);
          if (entry.isDirectory()) walk(full);
          else files.push(path.relative(options.dir, full));
        }
      };
      walk(options.dir);
      for (const file of files) {
        const target = path.join(to, `${file}.gz`);
        fs.mkdirSync(path.dirname(target), { recursive: true });
        const packed = zlib.gzipSync(fs.readFileSync(path.join(options.dir, file)), { level: 9 });
        sizes[file] = packed.length;
        fs.writeFileSync(target, packed);
      }
      const first = new Set(['index.html']);
      const add = name => {
        if (first.has(name)) return;
        first.add(name);
        const chunk = bundle[name];
        chunk?.imports?.forEach(add);
        chunk?.viteMetadata?.importedCss?.forEach(add);
      };
      for (const [name, chunk] of Object.entries(bundle)) if (chunk.type === 'chunk' && chunk.isEntry) add(name);
      const sum = names => names.reduce((total, name) => total + (sizes[name] ?? 0), 0);
      const firstSize = sum([...first]);
      const all = sum(files);
      console.log(`first page ${(firstSize / 1000).toFixed(0)} kB, everything ${(all / 1000).toFixed(0)} kB (gzip, ${files.length} files)`);
      if (firstSize > firstPage) throw new Error(`the first page has ${firstSize} bytes, and may have ${firstPage}`);
      if (all > everything) throw new Error(`all files together have ${all} bytes, and may have ${everything}`);
    },
  };
}
