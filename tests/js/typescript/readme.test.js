// The examples of the TypeScript client's README: each one is compiled, and does against a real pod what the text says.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import WebSocket from 'ws';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { run, until } from '../support/process.js';
import { SECRET, token } from '../support/tokens.js';
import { folder, load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { map } = await load('map');
const path = fileURLToPath(folder);
const readme = await readFile(new URL('README.md', folder), 'utf8');
const examples = new Map(
  [...readme.matchAll(/<!-- test: (\w+) -->\n```tsx?\n([\s\S]*?)\n```/g)].map(([, name, text]) => [name, text]),
);

const RECEIPTS = `
[[policy]]
match = ["dm:*"]
publish = "user"
acks = "receipts"
`;
const STATUS = `
[[policy]]
match = ["presence:*"]
retain = "room"
[user_presence]
room = "presence:{user}"
offline_after = "0ms"
`;

let pod, guarded, backend, here, click;
const printed = [];

before(async () => {
  const answers = { '/token': token('ann'), '/rpc': '{"allow":true,"data":{"votes":17}}' };
  backend = createServer(({ url }, answer) => answer.end(answers[url] ?? '["loaded"]'));
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
  const hooks = `[hooks]\nrpc = "http://127.0.0.1:${backend.address().port}/rpc"\nrpc_access = "anyone"\n`;
  [pod, guarded] = await Promise.all([
    Pod.start({ config: `${rooms}\n[[policy]]\nmatch = ["signal:*"]\nsignal = "anyone"\n${hooks}` }),
    Pod.start({
      config: `[tokens]\nhmac_secrets = ["${SECRET}"]\npersonal_room = "user:{user}"\n[[policy]]\nmatch = ["read:*"]\nacks = "keep"\n${RECEIPTS}${STATUS}`,
    }),
  ]);
  // Below the package, so that `roomcast` is found as it would be where it is installed.
  here = await mkdtemp(join(path, 'readme-'));
  globalThis.WebSocket = WebSocket;
  globalThis.document = { addEventListener: (_, listener) => (click = listener) };
});
after(async () => {
  await rm(here, { recursive: true, force: true });
  backend?.close();
  await Promise.all([pod?.stop(), guarded?.stop()]);
});

/** The example in JavaScript, with the addresses of this test, and a client that the test can end. */
async function module(name, of) {
  const { transform } = createRequire(new URL('package.json', folder))('esbuild');
  const text = examples
    .get(name)
    .replaceAll('https://push.example.com', `http://127.0.0.1:${of.plainPort}`)
    .replaceAll('the token of ann', token('ann'))
    .replaceAll('https://backend.example.com', `http://127.0.0.1:${backend.address().port}`);
  const { code } = await transform(text, { loader: 'ts', format: 'esm' });
  const file = join(here, `${name}.mjs`);
  await writeFile(file, `${code}\nexport { client };\n`);
  return pathToFileURL(file).href;
}

/** Runs an example; `then` gets what it exports, or its promise where it waits for something. */
async function example(name, { of = pod, waits = false } = {}, then) {
  const { log } = console;
  printed.length = 0;
  console.log = (...words) =>
    printed.push(words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' '));
  let started;
  try {
    started = import(await module(name, of));
    await then(waits ? started : await started);
  } finally {
    console.log = log;
    (await started)?.client.close();
  }
}

const says = (pattern) =>
  until(
    () => printed.some((line) => pattern.test(line)),
    10_000,
    () => `${pattern} was not printed: ${printed.join('\n')}`,
  );
const joined = ({ client }) =>
  until(
    () => client.rooms.length > 0 && client.rooms.every(({ state }) => state === 'joined'),
    10_000,
    'it does not join',
  );

test('every example is in the list of those that run, and compiles', async () => {
  const blocks = readme.match(/```tsx?\n/g).length;
  assert.equal(blocks, examples.size, 'an example has no name');
  assert.deepEqual([...examples.keys()].sort(), [
    'edges',
    'explain',
    'load',
    'loop',
    'map',
    'presence',
    'publish',
    'react',
    'receipts',
    'rpc',
    'signals',
    'start',
    'status',
    'tabs',
    'testing',
    'token',
    'types',
    'unread',
  ]);
  const options = {
    strict: true,
    noEmit: true,
    jsx: 'react-jsx',
    skipLibCheck: true,
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022', 'dom', 'dom.iterable'],
    types: [],
  };
  await Promise.all(
    [...examples].map(([name, text]) =>
      writeFile(join(here, `${name}.${name === 'react' ? 'tsx' : 'mts'}`), `${text}\nexport {};\n`),
    ),
  );
  await writeFile(
    join(here, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, include: ['*.mts', '*.tsx'] }),
  );
  const { code, stdout } = await run(join(path, 'node_modules/.bin/tsc'), ['--project', 'tsconfig.json'], {
    cwd: here,
  });
  assert.equal(code, 0, stdout);
});

test('start', () =>
  example('start', {}, async (it) => {
    await joined(it);
    await pod.publish('demo:1', { text: 'hello' }, { topic: 'greeting' });
    await says(/^greeting \{"text":"hello"\}$/);
  }));

test('rpc', () => example('rpc', {}, () => says(/^17 votes$/)));

test('types', () =>
  example('types', {}, async (it) => {
    await joined(it);
    await pod.publish('trip:123', { lat: 60.17, lon: 24.94 }, { topic: 'moved', key: 'bus-7' });
    await pod.publish('trip:123', 'hello', { topic: 'chat' });
    await says(/^bus-7 60.17 24.94$/);
    await says(/^HELLO$/);
  }));

test('load', () =>
  example('load', {}, async (it) => {
    await joined(it);
    assert.equal(it.client.rooms[0].name, 'trip:123');
  }));

test('token', () =>
  example('token', { of: guarded }, async ({ client }) => {
    await until(
      () => client.rooms.some(({ name, state }) => name === 'user:ann' && state === 'joined'),
      10_000,
      'no own room',
    );
    await guarded.publish('user:ann', 'for ann');
    await says(/^for ann$/);
  }));

test('publish', () => example('publish', {}, () => says(/^event 1$/)));

test('loop', () =>
  example('loop', { waits: true }, async (started) => {
    const sending = setInterval(() => pod.publish('demo:1', 'bye').catch(() => {}), 200);
    await started;
    clearInterval(sending);
    assert.equal(printed.at(-1), 'bye');
  }));

test('presence', () =>
  example('presence', {}, async () => {
    await says(/^1 \[\]$/);
    const guest = new Client({ url: `http://127.0.0.1:${pod.plainPort}`, storage: null });
    guest.subscribe('seen:lobby');
    await says(/^2 \[\]$/);
    guest.close();
  }));

test('status', () =>
  example('status', { of: guarded }, async (it) => {
    await joined(it);
    const device = (user) => {
      const url = `http://127.0.0.1:${guarded.plainPort}`;
      return new Client({ url, token: token(user), storage: null });
    };
    const bob = device('bob');
    bob.connect();
    await says(/^bob is online$/);
    await commands(bob).request({ type: 'status', status: 'away' });
    await says(/^bob is away$/);
    bob.close();
    await says(/^bob is offline$/);
    const ann = map(it.client, 'presence:ann', { keyless: 'status' });
    await until(() => ann.get('status')?.data.status === 'busy', 10_000, 'ann is not busy');
  }));

test('map', () =>
  example('map', {}, async (it) => {
    await joined(it);
    await pod.publish('retain:fleet', 60, { key: 'bus-7' });
    await pod.publish('retain:fleet', 61, { key: 'bus-8' });
    await says(/^bus-7 at 60, bus-8 at 61$/);
    await pod.publish('retain:fleet', null, { topic: 'gone', key: 'bus-7' });
    await says(/^bus-8 at 61$/);
  }));

test('explain', () =>
  example('explain', {}, async () => {
    await says(/The room closed:room was refused: this connection may not join closed:room \(forbidden\)/);
    await says(/Connected to http:\/\/127.0.0.1:\d+ by websocket for [\d.]+ s\./);
  }));

// Node has no Web Locks before version 24: what several tabs do is shown in a browser.
test('tabs', () =>
  example('tabs', {}, async (it) => {
    await joined(it);
    await pod.publish('demo:1', 'for all', { topic: 'greeting' });
    await says(/^greeting for all$/);
  }));

// This pod lists none: it is its own nearest edge. What several do is in edges.test.js.
test('edges', () =>
  example('edges', { waits: true }, async (started) => {
    const it = await started;
    await joined(it);
    await pod.publish('demo:1', 'from the nearest', { topic: 'greeting' });
    await says(/^greeting from the nearest$/);
  }));

test('testing', () => example('testing', {}, () => says(/^while it was away$/)));

test('signals', () =>
  example('signals', {}, async (it) => {
    await joined(it);
    const guest = new Client({ url: `http://127.0.0.1:${pod.plainPort}`, storage: null });
    await guest.subscribe('signal:chat').joined();
    commands(guest).request({ type: 'signal', room: 'signal:chat', topic: 'typing' });
    await says(/^a guest: typing$/);
    guest.close();
  }));

test('unread', () =>
  example('unread', { of: guarded }, async (it) => {
    await joined(it);
    for (const n of [1, 2]) await guarded.publish('read:chat', n);
    await guarded.publish('read:news', 1);
    await says(/^3 2$/);
    click();
    await says(/^1 0$/);
  }));

test('receipts', () =>
  example('receipts', { of: guarded }, async ({ client }) => {
    const position = await commands(client).publish('dm:7', 'said', 'hello');
    const bob = new Client({ url: `http://127.0.0.1:${guarded.plainPort}`, token: token('bob'), storage: null });
    await commands(bob).request({ type: 'ack', room: 'dm:7', ...position });
    // The position of the example is of another log.
    await says(/^read by $/);
    bob.close();
  }));
