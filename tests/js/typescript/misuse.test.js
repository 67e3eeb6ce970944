// What applications and places do to a client that it was not made for, without a browser: two copies of the package, a clock that jumps,
// storage that is forbidden, a module that is loaded anew.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { folder, load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { presence } = await load('presence');
const { signals } = await load('signals');
const { unread } = await load('unread');
const { TestClock, TestPod, settled } = await load('testing');

function world(options = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, accepts: () => ({ user: 'ann', expiresAt: clock.date() + 600_000 }) });
  const reported = [];
  const client = new Client({
    url: 'https://pod',
    transports: [pod.transport],
    clock,
    storage: null,
    onError: (error) => reported.push(error),
    ...options,
  });
  return { clock, pod, client, reported };
}

const require = createRequire(new URL('package.json', folder));
/** A module of another copy of the package. */
const otherCopy = (name) => require(`./dist/cjs/${name}.js`);

test('a client of one copy of the package works with the entries of another one', async () => {
  // CommonJS beside ESM: what an application gets that has two versions, or both kinds of import.
  const [copy, theirs, here, shown, counted] = ['index', 'commands', 'presence', 'signals', 'unread'].map(otherCopy);
  assert.notEqual(copy.Client, Client);
  const { pod, client, reported } = world({ token: () => 'token' });
  assert.equal(commands(client), theirs.commands(client), 'one queue for both');
  const ends = [
    presence(client, 'r'),
    here.presence(client, 'r'),
    signals(client, 'r'),
    shown.signals(client, 'r'),
    unread(client, 'r'),
    counted.unread(client, 'r'),
  ];
  await settled();
  await theirs.commands(client).publish('r', 't', 1);
  await settled();
  assert.deepEqual([ends[0].total, ends[1].total], [1, 1]);
  assert.deepEqual([ends[4].snapshot.total, ends[5].snapshot.total], [1, 1]);
  pod.tamper = (message) =>
    message.type === 'published' ? { type: 'error', id: message.id, code: 'forbidden', message: 'no' } : message;
  // Errors of both are told apart by `code` and `name`, and not by their class.
  for (const { commands: own } of [{ commands }, theirs]) {
    await assert.rejects(own(client).publish('r', 't', 2), { name: 'RoomcastError', code: 'forbidden' });
  }
  for (const end of ends) end.close();
  await settled();
  assert.deepEqual([client.rooms, reported], [[], []]);
});

test('two clients of two copies in one page do not know of each other', async () => {
  const copy = otherCopy('index');
  const { clock, pod, client } = world();
  const second = new copy.Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null });
  const seen = [[], []];
  await client.subscribe('r', { event: ({ data }) => seen[0].push(data) }).joined();
  await second.subscribe('r', { event: ({ data }) => seen[1].push(data) }).joined();
  pod.publish('r', 't', 1);
  second.close();
  pod.publish('r', 't', 2);
  assert.deepEqual(seen, [[1, 2], [1]]);
});

for (const [name, jump] of [
  ['an hour ahead', 3_600_000],
  ['an hour back', -3_600_000],
]) {
  test(`a clock that jumps ${name} loses no connection, no event and no token`, async () => {
    let tokens = 0;
    const { clock, pod, client, reported } = world({ token: () => `token-${++tokens}` });
    const seen = [];
    await client.subscribe('r', { event: ({ data }) => seen.push(data) }).joined();
    const { connection } = client.state;
    const { date } = clock;
    clock.date = () => date() + jump;
    pod.publish('r', 't', 1);
    await clock.advance(60_000);
    pod.publish('r', 't', 2);
    assert.deepEqual([client.state.connection, seen], [connection, [1, 2]]);
    // The token is renewed by time that passed, and not by the time of day.
    const before = tokens;
    await clock.advance(600_000);
    assert.ok(tokens > before && tokens < before + 10, `${tokens - before} tokens`);
    assert.equal(client.state.connection, connection);
    // A pause is as long as it was meant to be.
    pod.isUp = false;
    pod.cut();
    clock.date = date;
    pod.isUp = true;
    await clock.advance(30_000);
    pod.publish('r', 't', 3);
    assert.deepEqual([client.state.kind, seen, reported], ['open', [1, 2, 3], []]);
  });
}

test('where storage is forbidden, full or broken, it connects all the same', async () => {
  const deny = () => {
    throw new DOMException('denied', 'SecurityError');
  };
  const storages = [
    { getItem: deny, setItem: deny },
    { getItem: () => 'nonsense of another program', setItem: deny },
  ];
  for (const storage of storages) {
    const { client, reported } = world({ storage });
    await client.subscribe('r').joined();
    assert.deepEqual([client.state.kind, reported], ['open', []]);
  }
  const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage');
  // As a browser does where cookies are blocked: to look at it is forbidden.
  Object.defineProperty(globalThis, 'localStorage', { configurable: true, get: deny });
  try {
    const { client } = world({ storage: undefined });
    await client.subscribe('r').joined();
    assert.equal(client.state.kind, 'open');
  } finally {
    if (before) Object.defineProperty(globalThis, 'localStorage', before);
    else delete globalThis.localStorage;
  }
});

test('a module that is loaded anew, as while it is being worked on, leaves nothing behind', async () => {
  const { clock, pod, client, reported } = world();
  // Each time it is evaluated it begins what the one before has just ended, in the same turn.
  const seen = [];
  const evaluate = (version) => {
    const followers = [
      client.subscribe('r', { event: ({ data }) => seen.push([version, data]) }),
      presence(client, 'r'),
    ];
    return () => {
      followers[0].unsubscribe();
      followers[1].close();
    };
  };
  let dispose = evaluate(0);
  await settled();
  for (let version = 1; version <= 20; version++) {
    dispose();
    dispose = evaluate(version);
    if (version % 3 === 0) await settled();
  }
  await settled();
  pod.publish('r', 't', 'once');
  assert.deepEqual(seen, [[20, 'once']]);
  assert.equal(pod.commands.filter(({ type }) => type === 'unsubscribe').length, 0, 'the room was wanted all the time');
  dispose();
  await clock.advance(1_000);
  assert.deepEqual([client.rooms, reported], [[], []]);
});
