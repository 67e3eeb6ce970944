// How the TypeScript client chooses among transports and endpoints, in simulated time.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { TestClock, TestPod, settled } = await load('testing');
const { commands } = await load('commands');
const { explain } = await load('explain');

/** A transport that never opens, or fails as it is told. */
function broken(name, fail) {
  const transport = { name, dialled: 0, closed: 0, sends: true, isPossible: () => true };
  transport.dial = (_, on) => {
    transport.dialled += 1;
    if (fail) queueMicrotask(() => on.close(1006, fail));
    return { send() {}, close: () => (transport.closed += 1) };
  };
  return transport;
}

function memory() {
  const kept = new Map();
  return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
}

test('the first transport that a server welcomes wins, and is tried first the next time', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const hangs = broken('webtransport');
  const storage = memory();
  const options = { url: 'https://pod', transports: [hangs, pod.transport], clock, storage };
  const client = new Client(options);
  client.connect();
  await clock.advance(999);
  assert.equal(client.state.kind, 'connecting', 'the better one has a head start');
  await clock.advance(1);
  assert.equal(client.state.transport, 'websocket');
  assert.equal(hangs.closed, 1, 'the other one is let go');
  client.close();

  const again = new Client(options);
  again.connect();
  await settled();
  assert.equal(again.state.transport, 'websocket');
  assert.equal(hangs.dialled, 1);
  again.close();
});

test('a transport that fails makes way at once', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const client = new Client({
    url: 'https://pod',
    transports: [broken('webtransport', 'UDP does not get through'), pod.transport],
    clock,
    storage: null,
  });
  client.connect();
  await settled();
  assert.equal(client.state.transport, 'websocket');
  assert.match(explain(client, clock.date()), /webtransport to https:\/\/pod failed: .*UDP does not get through/);
  client.close();
});

test('of several endpoints the one that answers first is taken', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const delays = { 'https://far': 80, 'https://near': 20, 'https://dead': 1e9 };
  const transport = {
    ...pod.transport,
    dial(to, on) {
      const late = (then) => clock.after(delays[to.endpoint], then);
      let link;
      const stop = late(() => {
        link = pod.transport.dial(to, on);
      });
      return { send: (command) => link.send(command), close: () => (stop(), link?.close()) };
    },
  };
  const client = new Client({ url: Object.keys(delays), transports: [transport], clock, storage: null });
  client.connect();
  await clock.advance(20);
  assert.equal(client.state.endpoint, 'https://near');
  await clock.advance(1_000);
  assert.equal(pod.connections, 1);
  client.close();
});

test('it moves over to a better transport as soon as that works, without a loss', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const better = { ...pod.transport, name: 'better', dial: (to, on) => (works ? pod : dead).transport.dial(to, on) };
  const dead = new TestPod({ clock });
  dead.isUp = false;
  let works = false;
  const client = new Client({ url: 'https://pod', transports: [better, pod.transport], clock, storage: null });
  const seen = [];
  const loads = [];
  await client.subscribe('r', { load: () => void loads.push(1), event: ({ data }) => seen.push(data) }).joined();
  pod.publish('r', 't', 1);
  await clock.advance(30_000);
  assert.equal(client.state.transport, 'websocket');
  works = true;
  pod.publish('r', 't', 2);
  await clock.advance(60_000);
  assert.equal(client.state.transport, 'better');
  pod.publish('r', 't', 3);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(loads.length, 1);
  assert.equal(pod.connections, 1, 'the old one is closed');
  client.close();
});

test('where a transport only listens, publishing waits for a better one', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock, name: 'poll' });
  const listens = { ...pod.transport, sends: false };
  let works = false;
  const socket = { ...pod.transport, name: 'websocket' };
  socket.dial = (to, on) => (works ? pod.transport : broken('websocket', 'blocked')).dial(to, on);
  const client = new Client({ url: 'https://pod', transports: [socket, listens], clock, storage: null });
  const own = commands(client);
  const published = own.publish('r', 't', 1);
  await clock.advance(1_000);
  assert.equal(client.state.transport, 'poll');
  assert.equal(own.waiting, 1);
  await assert.rejects(own.publish('r', 't', 2, { offline: 'fail' }), { code: 'lost' });
  assert.match(explain(client, clock.date()), /publishing waits for a better transport/);
  works = true;
  await clock.advance(20_000);
  assert.equal((await published).offset, 1);
  client.close();
});

test('without any transport it says so', async () => {
  const clock = new TestClock();
  const none = { name: 'none', isPossible: () => false };
  const client = new Client({ url: 'https://pod', transports: [none], clock, storage: null });
  client.connect();
  await settled();
  assert.match(explain(client, clock.date()), /no transport/);
  client.close();
});

test('what answers for the network and is no pod is an attempt that failed, over long-polls', async (t) => {
  const clock = new TestClock();
  let calls = 0;
  let answer = { ok: true, status: 200, json: () => Promise.reject(new SyntaxError('a page to sign in')) };
  const fetch = () => {
    calls += 1;
    return Promise.resolve({ headers: new Map(), ...answer });
  };
  const client = new Client({ url: 'https://pod', transports: ['poll'], fetch, clock, storage: null });
  t.after(() => client.close());
  client.subscribe('r');
  const failed = async (status) => {
    Object.assign(answer, { ok: status < 300, status });
    const before = calls;
    await clock.advance(60_000);
    // The code of long-polls is loaded meanwhile, which takes real time.
    for (let turn = 0; turn < 20; turn++) await new Promise((done) => setTimeout(done, 5));
    await clock.advance(60_000);
    assert.match(client.attempts.at(-1).reason, new RegExp(`HTTP status ${status}, not from a pod`));
    assert.equal(client.state.kind, 'waiting');
    assert.ok(calls - before < 15, `${calls - before} requests in two minutes`);
  };
  for (const status of [200, 302, 401, 403, 404, 502]) await failed(status);
  answer = { ok: true, status: 200, json: () => Promise.resolve({ messages: [], cursor: '' }) };
  client.wake();
  await settled();
  assert.equal(client.state.kind, 'open');
});
