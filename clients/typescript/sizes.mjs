// How large each entry is, minified and gzipped, and how large it may be. An entry beside the main one counts without it.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const KB = 1_000;
const MOST = { index: 10 * KB, presence: KB, map: KB, explain: KB };

/** The bytes of each entry; throws if one has become too large. */
export async function sizes() {
  const found = {};
  for (const [entry, most] of Object.entries(MOST)) {
    const { outputFiles } = await build({
      absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
      entryPoints: [`dist/esm/${entry}.js`],
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      write: false,
      ...(entry !== 'index' && { external: ['./index.js'] }),
    });
    found[entry] = gzipSync(outputFiles[0].contents, { level: 9 }).length;
    if (found[entry] > most) throw new Error(`${entry} has ${found[entry]} bytes gzipped, and may have ${most}`);
  }
  return found;
}
