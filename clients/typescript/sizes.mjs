// How large each file is for a page, minified and gzipped, and how large it may be.
//
// `index` is what every page loads. `webtransport` and `poll` come with it or later, as a page's bundler has it; `whole` is all three in
// one file. The other entries count without the main one.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const LAZY = ['./webtransport.js', './poll.js'];
/** What the main entry has in it anyway. */
const SHARED = ['./abort.js', './close_codes.js', './error.js', './message.js', './platform.js'];
const ADAPTERS = ['react', 'vue', 'svelte', 'rxjs', 'angular'];
/** An adapter counts without its framework, and without the entries that it stands upon. */
const BESIDE = ['react', 'vue', 'rxjs', '@angular/core', './map.js', './presence.js'];
const ENTRIES = {
  index: { most: 6_000, external: LAZY },
  webtransport: { most: 1_250, external: SHARED },
  poll: { most: 1_450, external: SHARED },
  whole: { file: 'index', most: 9_400, external: [] },
  commands: { most: 1_000, external: SHARED },
  presence: { most: 1_000, external: SHARED },
  map: { most: 1_000, external: [] },
  explain: { most: 1_000, external: [] },
  ...Object.fromEntries(ADAPTERS.map((name) => [name, { most: 1_000, external: BESIDE }])),
};

/** The bytes of each; throws if one has become too large. */
export async function sizes() {
  const found = {};
  for (const [name, { file = name, most, external }] of Object.entries(ENTRIES)) {
    const { outputFiles } = await build({
      absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
      entryPoints: [`dist/esm/${file}.js`],
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      write: false,
      external,
    });
    found[name] = gzipSync(outputFiles[0].contents, { level: 9 }).length;
    if (found[name] > most) throw new Error(`${name} has ${found[name]} bytes gzipped, and may have ${most}`);
  }
  return found;
}
