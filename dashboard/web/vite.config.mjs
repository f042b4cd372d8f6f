import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import svgr from 'vite-plugin-svgr';
import { compress } from './build/compress.mjs';
import { icons } from './build/icons.mjs';
import { licenses } from './build/licenses.mjs';
import { rewrites } from './build/rewrites.mjs';

const here = path => fileURLToPath(new URL(path, import.meta.url));
const headlamp = here('./node_modules/@kinvolk/headlamp-plugin/lib');

export default defineConfig({
  envPrefix: 'REACT_APP_', // as Headlamp's own
  resolve: {
    alias: [
      { find: /^headlamp\//, replacement: `${headlamp}/` },
      // Date pickers and their locales are for filters of columns that no page has.
      { find: /^@mui\/x-date-pickers.*/, replacement: here('./src/absent.ts') },
      // Two modules of Node's, for the parser of OpenAPI behind the editor's tab of documentation.
      { find: 'path', replacement: 'path-browserify' },
      { find: 'util', replacement: here('./src/node.ts') },
    ],
    dedupe: ['react', 'react-dom'],
  },
  plugins: [rewrites(headlamp), icons(headlamp, here('./src')), svgr({ svgrOptions: { titleProp: true, ref: true } }), react(), licenses(), compress(here('../assets'))],
  build: {
    outDir: 'dist',
    assetsDir: 'static',
    assetsInlineLimit: 0, // the policy of the server allows scripts and workers of files alone
    target: 'es2022',
    sourcemap: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 10000,
    modulePreload: { polyfill: false },
    dynamicImportVarsOptions: { exclude: [] }, // Headlamp loads its locales by name
  },
  define: { 'process.env.NODE_ENV': JSON.stringify('production') },
  test: { environment: 'jsdom', include: ['test/unit/*.test.ts'] },
});
