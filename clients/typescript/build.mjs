// Builds the package: `dist/esm` with its types, by the compiler; `dist/cjs`, the same files as CommonJS, with the same types.
//
// Always holds: what is published is what the compiler has checked; nothing of an older build is left.

import { execFileSync } from 'node:child_process';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { sizes } from './sizes.mjs';

process.chdir(fileURLToPath(new URL('.', import.meta.url)));
await rm('dist', { recursive: true, force: true });
// Only adapters may know what a browser has.
for (const project of ['tsconfig.json', 'tsconfig.adapters.json']) {
  execFileSync('node_modules/.bin/tsc', ['--project', project], { stdio: 'inherit' });
}
const files = await readdir('dist/esm');
await build({
  entryPoints: files.filter((file) => file.endsWith('.js')).map((file) => `dist/esm/${file}`),
  outdir: 'dist/cjs',
  format: 'cjs',
  target: 'es2022',
});
for (const file of files.filter((file) => file.endsWith('.d.ts'))) await cp(`dist/esm/${file}`, `dist/cjs/${file}`);
await writeFile('dist/cjs/package.json', '{ "type": "commonjs" }\n');
for (const name of ['APACHE', 'MIT']) await cp(`../../LICENSE-${name}`, `dist/LICENSE-${name}`);
console.log(await sizes());
