// The TypeScript client as it would be published: what `npm run build` in clients/typescript has made.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export const folder = new URL('../../../clients/typescript/', import.meta.url);
const dist = new URL('dist/esm/', folder);
if (!existsSync(new URL('index.js', dist))) {
  throw new Error('clients/typescript is not built: npm ci && npm run build in that folder, or run tests/run clients');
}

/** A module of the package, those that are not exported too. */
export const load = (name) => import(new URL(`${name}.js`, dist).href);

/** A package that the client is built and tested with. */
export const dependency = (name) =>
  import(pathToFileURL(createRequire(new URL('package.json', folder)).resolve(name)).href);
