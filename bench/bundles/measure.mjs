// How much a page loads of each client: what it needs to connect and to follow a room, in one file, minified and gzipped.
//
//   npm --prefix clients/typescript ci && npm --prefix clients/typescript run build
//   npm --prefix bench/bundles ci && npm --prefix bench/bundles run measure
//
// Prints the table of docs/BENCHMARKS.md. Always holds: all are bundled by the same tool with the same settings for a browser, each by the
// way that its own documentation shows.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const own = new URL('../../clients/typescript/', import.meta.url);
const dist = fileURLToPath(new URL('dist/esm', own));
const LAZY = ['./webtransport.js', './poll.js'];

/** What a page imports of each; `beside` are parts that come when they are tried. */
const CLIENTS = [
  { name: 'roomcast', of: 'roomcast', uses: "export { Client } from 'roomcast';", beside: LAZY },
  { name: 'roomcast, all transports in one file', of: 'roomcast', uses: "export { Client } from 'roomcast';" },
  {
    name: 'roomcast with publishing, presence, values, signals, unread counts',
    of: 'roomcast',
    uses: `export { Client } from 'roomcast';
      export * from 'roomcast/commands'; export * from 'roomcast/presence'; export * from 'roomcast/map';
      export * from 'roomcast/signals'; export * from 'roomcast/unread';`,
    beside: LAZY,
  },
  { name: 'socket.io-client', of: 'socket.io-client', uses: "export { io } from 'socket.io-client';" },
  { name: 'pusher-js', of: 'pusher-js', uses: "export { default } from 'pusher-js';" },
  { name: 'centrifuge', of: 'centrifuge', uses: "export { Centrifuge } from 'centrifuge';" },
  { name: 'ably', of: 'ably', uses: "export { Realtime } from 'ably';" },
];

const require = createRequire(import.meta.url);
async function versionOf(name) {
  if (name === 'roomcast') return JSON.parse(await readFile(new URL('package.json', own), 'utf8')).version;
  const wanted = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8')).dependencies[name];
  const found = require.resolve(name).replace(/(node_modules\/[^/]+)\/.*/, '$1/package.json');
  const { version } = JSON.parse(await readFile(found, 'utf8'));
  if (version !== wanted) throw new Error(`${name} ${version} is installed, and not ${wanted}: npm ci`);
  return version;
}

const kilobytes = (bytes) => (bytes / 1_000).toFixed(1);
console.log('| client | version | minified, KB | gzip, KB | brotli, KB |\n| --- | --- | --- | --- | --- |');
for (const { name, of, uses, beside = [] } of CLIENTS) {
  const { outputFiles } = await build({
    stdin: { contents: uses, resolveDir: fileURLToPath(new URL('./', import.meta.url)) },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    write: false,
    external: beside,
    alias: { roomcast: dist },
    logLevel: 'error',
  });
  const [{ contents }] = outputFiles;
  const zipped = [gzipSync(contents, { level: 9 }), brotliCompressSync(contents)].map(({ length }) =>
    kilobytes(length),
  );
  console.log(`| ${[name, await versionOf(of), kilobytes(contents.length), ...zipped].join(' | ')} |`);
}
