// How large each file is for a page, minified and gzipped, and how large it may be.
//
// `index` is what every page loads. `webtransport` and `poll` come with it or later, as a page's bundler has it; `whole` is all three in
// one file. Of the other entries counts what they add to it.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const LAZY = ['./webtransport.js', './poll.js'];
/** What the main entry has in it anyway. */
const SHARED = ['./close_codes.js', './message.js', './platform.js'];
/** An adapter counts without its framework, and without the entries that it stands upon. */
const BESIDE = ['react', 'vue', 'rxjs', '@angular/core', './map.js', './presence.js', './signals.js', './unread.js'];
/** What an application of people loads: the main entry and all that keeps something up to date. */
const PEOPLE = ['index', 'presence', 'map', 'signals', 'unread', 'receipts', 'explain'];
/** Files and their limits; with `beside`, what a file adds to a page that has the main entry. */
const ENTRIES = {
  index: { most: 6_000, external: LAZY },
  webtransport: { most: 1_300, external: SHARED },
  poll: { most: 2_000, external: SHARED },
  whole: { files: ['index'], most: 9_400, external: [] },
  // With `commands`, on which it stands.
  rpc: { most: 1_200, external: LAZY, beside: 'index' },
  together: { files: PEOPLE, most: 10_000, external: LAZY },
  commands: { most: 1_100, external: LAZY, beside: 'index' },
  ...Object.fromEntries(
    ['edges', 'tabs', 'presence', 'map', 'signals', 'unread', 'receipts', 'explain'].map((name) => [
      name,
      { most: 1_000, external: LAZY, beside: 'index' },
    ]),
  ),
  unread: { most: 1_050, external: LAZY, beside: 'index' },
  ...Object.fromEntries(
    ['react', 'vue', 'svelte', 'rxjs', 'angular'].map((name) => [name, { most: 1_000, external: BESIDE }]),
  ),
};

/** The bytes of each; throws if one has become too large. */
export async function sizes() {
  const found = {};
  for (const [name, { files = [name], most, external, beside }] of Object.entries(ENTRIES)) {
    found[name] = await bundled(beside ? [beside, ...files] : files, external);
    if (beside) found[name] -= found[beside];
    if (found[name] > most) throw new Error(`${name} has ${found[name]} bytes gzipped, and may have ${most}`);
  }
  return found;
}

async function bundled(files, external) {
  const { outputFiles } = await build({
    stdin: {
      contents: files.map((file) => `export * from './${file}.js';`).join('\n'),
      resolveDir: fileURLToPath(new URL('dist/esm', import.meta.url)),
    },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    external,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}
