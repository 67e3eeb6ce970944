// The package `roomcast` as it would be published: what is in it, how it is found by import and require, its types and its size.

import assert from 'node:assert/strict';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { withFolder } from '../support/folder.js';
import { run } from '../support/process.js';
import { dependency, folder } from '../support/typescript.js';

const path = fileURLToPath(folder);
const manifest = JSON.parse(await readFile(new URL('package.json', folder), 'utf8'));
/** A folder in which `roomcast` is installed. */
const installed = (files, use) =>
  withFolder(files, async (where) => {
    await mkdir(join(where, 'node_modules'));
    await symlink(path, join(where, 'node_modules', 'roomcast'));
    return use(where);
  });

test('what would be published is the built package, its types and its documents', async () => {
  const { code, stdout, stderr } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: path });
  assert.equal(code, 0, stderr);
  const files = JSON.parse(stdout)[0].files.map((file) => file.path);
  assert.ok(
    ['README.md', 'CHANGELOG.md', 'dist/LICENSE-MIT', 'dist/esm/index.js'].every((file) => files.includes(file)),
    `${files}`,
  );
  const strange = files.filter(
    (file) =>
      !/^(dist\/(esm|cjs)\/[a-z_]+\.(js|d\.ts)|dist\/cjs\/package\.json|dist\/LICENSE-\w+|[A-Z]+\.md|package\.json)$/.test(
        file,
      ),
  );
  assert.deepEqual(strange, []);
  assert.equal(manifest.dependencies, undefined);
  const changes = await readFile(new URL('CHANGELOG.md', folder), 'utf8');
  assert.ok(changes.includes(`\n## [${manifest.version}]\n`), 'the changelog has this version');
});

test('publint has nothing to say', async () => {
  const { publint } = await dependency('publint');
  const { messages } = await publint({ pkgDir: path, strict: true });
  assert.deepEqual(
    messages.filter(({ type }) => type !== 'suggestion'),
    [],
  );
});

test('types are right for import and require, in every way of resolving', async () => {
  const { checkPackage, createPackageFromTarballData } = await dependency('@arethetypeswrong/core');
  await withFolder({}, async (where) => {
    const packed = await run('npm', ['pack', '--ignore-scripts', '--pack-destination', where], { cwd: path });
    assert.equal(packed.code, 0, packed.stderr);
    const tarball = await readFile(join(where, packed.stdout.trim().split('\n').at(-1)));
    const { problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
    // What resolves like Node 10 knows no `exports`, and finds the main entry only.
    const wrong = problems.filter(
      ({ kind, resolutionKind }) => !(kind === 'NoResolution' && resolutionKind === 'node10'),
    );
    assert.deepEqual(wrong, []);
  });
});

test('no entry is larger than it may be', async () => {
  const { sizes } = await import(new URL('sizes.mjs', folder));
  const { index } = await sizes();
  assert.ok(index > 1_000, `${index} bytes cannot be all of it`);
});

test('the API reference has every entry, and says what the types say', async () => {
  const { reference } = await import(new URL('reference.mjs', folder));
  const [written, made] = await Promise.all([readFile(new URL('API.md', folder), 'utf8'), reference()]);
  assert.equal(written, made, 'npm run reference writes it anew');
  const entries = Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json'));
  const titles = entries.map((entry) => `\n## roomcast${entry.slice(1)}\n`);
  assert.deepEqual(
    titles.filter((title) => !written.includes(title)),
    [],
  );
});

test('every entry is there for import and for require, without the types or objects of a browser', async () => {
  const frameworks = ['./react', './vue', './rxjs', './angular'];
  const entries = Object.keys(manifest.exports).filter(
    (entry) => !entry.endsWith('.json') && !frameworks.includes(entry),
  );
  const names = entries.map((entry) => `roomcast${entry.slice(1)}`);
  // Nothing of the place is touched while the package is imported.
  const bare =
    'for (const name of ["fetch", "WebSocket", "AbortController", "performance"]) delete globalThis[name];\n';
  const imports = `${bare}for (const name of ${JSON.stringify(names)}) console.log(Object.keys(await import(name)).length > 0);`;
  const requires = `${bare}for (const name of ${JSON.stringify(names)}) console.log(Object.keys(require(name)).length > 0);`;
  await installed({ 'a.mjs': imports, 'b.cjs': requires }, async (cwd) => {
    for (const file of ['a.mjs', 'b.cjs']) {
      const { code, stdout, stderr } = await run(process.execPath, ['--preserve-symlinks', file], { cwd });
      assert.equal(code, 0, stderr);
      assert.equal(stdout, 'true\n'.repeat(entries.length), file);
    }
  });
});

test('what functions of adapters answer may be named in the declarations of another package', async () => {
  const hooks = `
import { Client } from 'roomcast';
import { room, signals, unread } from 'roomcast/svelte';
const client = new Client({ url: '/' });
export const typing = (name: string) => signals(client, name);
export const counts = (name: string) => unread(client, name);
export const state = (name: string) => room(client, name);
`;
  const options = {
    strict: true,
    declaration: true,
    emitDeclarationOnly: true,
    module: 'nodenext',
    target: 'es2022',
    types: [],
  };
  const config = JSON.stringify({ compilerOptions: { ...options, outDir: 'out' }, files: ['hooks.mts'] });
  await withFolder({ 'hooks.mts': hooks, 'tsconfig.json': config }, async (cwd) => {
    // As it is installed: a link would lead out of `node_modules`.
    const there = join(cwd, 'node_modules', 'roomcast');
    for (const part of ['package.json', 'dist']) await cp(join(path, part), join(there, part), { recursive: true });
    const { code, stdout } = await run(join(path, 'node_modules/.bin/tsc'), ['--project', cwd], { cwd });
    assert.equal(code, 0, stdout);
  });
  for (const adapter of ['react', 'vue', 'svelte', 'rxjs', 'angular']) {
    const types = await readFile(new URL(`dist/esm/${adapter}.d.ts`, folder), 'utf8');
    assert.match(types, /export type \{[^}]*FollowedUnread/, adapter);
  }
});

const GOOD = `
import { Client, RoomcastError, type EventOf, type NativeSignal, type Position } from 'roomcast';
import { commands } from 'roomcast/commands';
import { map } from 'roomcast/map';
import { presence } from 'roomcast/presence';

interface Trip { moved: { lat: number }; chat: string }
interface Rooms { system: { notice: string }; [trip: \`trip:\${string}\`]: Trip }
const client = new Client<Rooms>({ url: 'https://host' });
const trip = client.subscribe('trip:1', { event(event) {
  if (event.topic === 'chat') event.data.toUpperCase();
  else event.data.lat.toFixed();
} });
trip.on('moved', ({ data }) => data.lat.toFixed());
const { publish, history } = commands(client);
const position: Promise<Position> = publish('trip:1', 'chat', 'hello', { key: 'ann' });
const past: Promise<{ readonly events: readonly EventOf<Trip>[] }> = history('trip:1');
for (const [key, { topic }] of map(client, 'trip:2', { topics: ['moved'] })) key.concat(topic);
presence(client, 'system').members.get('x')?.user?.toUpperCase();
export async function loop(signal: NativeSignal) {
  for await (const { data } of client.subscribe('system', { signal })) data.toUpperCase();
}
export const code = (error: RoomcastError) => error.code === 'queue_full';
// @ts-expect-error there is no such room
client.subscribe('trap:1');
// @ts-expect-error there is no such topic
trip.on('moves', () => {});
// @ts-expect-error that is no chat
publish('trip:1', 'chat', 1);
// @ts-expect-error there is no such code
export const wrong = (error: RoomcastError) => error.code === 'oops';
// @ts-expect-error a topic has to be looked at first
client.subscribe('trip:1', { event: ({ data }) => data.lat });
export const untyped = commands(new Client({ url: '/' })).publish('any', 'any', [1]);
export { past, position };
`;

test('rooms, topics, events and errors are typed, with and without the types of a browser', async () => {
  const options = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2022',
    types: [],
    exactOptionalPropertyTypes: true,
  };
  const config = (lib) => JSON.stringify({ compilerOptions: { ...options, lib }, files: ['good.mts'] });
  const files = { 'good.mts': GOOD, 'bare.json': config(['es2022']), 'browser.json': config(['es2022', 'dom']) };
  await installed(files, async (cwd) => {
    for (const project of ['bare.json', 'browser.json']) {
      const { code, stdout } = await run(join(path, 'node_modules/.bin/tsc'), ['--project', project], { cwd });
      assert.equal(code, 0, `${project}: ${stdout}`);
    }
  });
});
