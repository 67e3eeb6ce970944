// What ends a client for good, and what does not: an application that closes it while it is told of something, a backend that denies it, a
// token that is not there.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { TestClock, TestPod, settled } = await load('testing');

function world(options = {}, of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, ...of });
  const reported = [];
  const onError = (error) => reported.push(error);
  const client = new Client({
    url: 'https://pod',
    transports: [pod.transport],
    clock,
    storage: null,
    onError,
    ...options,
  });
  return { clock, pod, client, reported };
}

test('a client that is closed by a listener is closed, whatever it was told of', async () => {
  for (const code of [1006, 1012, 4002, 4003]) {
    const { clock, pod, client } = world();
    const subscription = client.subscribe('r');
    await subscription.joined();
    subscription.onChange((state) => state === 'away' && client.close());
    pod.cut(code);
    await clock.advance(120_000);
    assert.deepEqual([client.state.kind, client.attempts.length, pod.connections], ['closed', 1, 0], `${code}`);
    assert.deepEqual([client.state.error, client.rooms], [undefined, []], `${code}`);
  }
  // While it moves over, and while it presents another token.
  for (const move of [(client) => client.authenticate('other'), (client) => client.wake()]) {
    const { clock, pod, client } = world();
    const subscription = client.subscribe('r');
    await subscription.joined();
    subscription.onChange((state) => state === 'away' && client.close());
    pod.tamper = (message) => (message.type === 'pong' ? undefined : message);
    move(client);
    await clock.advance(120_000);
    assert.deepEqual([client.state.kind, pod.connections], ['closed', 0]);
  }
});

test('a client that is closed while a login lets go of what was before is closed', async () => {
  const { clock, pod, client } = world({ token: 'one' });
  await client.subscribe('r').joined();
  client.onState(({ kind }) => kind === 'idle' && client.close());
  client.authenticate('two');
  await clock.advance(60_000);
  assert.deepEqual([client.state.kind, pod.connections, client.rooms], ['closed', 0, []]);
});

test('one that presents another token while it is told of an end does so once', async () => {
  const { clock, pod, client } = world({ token: 'one' });
  const subscription = client.subscribe('r');
  await subscription.joined();
  const stop = subscription.onChange((state) => {
    stop();
    if (state === 'away') client.authenticate('two');
  });
  pod.cut(1006);
  await clock.advance(60_000);
  const presented = pod.commands.filter(({ type }) => type === 'connect').map(({ token }) => token);
  assert.deepEqual([client.state.kind, pod.connections, presented], ['open', 1, ['one', 'two']]);
  client.close();
});

test('a room that was refused is refused when the client ends, and not away', async () => {
  const { pod, client } = world({}, { allows: (room) => room === 'r' });
  const told = { r: [], closed: [] };
  for (const [room, states] of Object.entries(told)) {
    const subscription = client.subscribe(room);
    subscription.onError(() => {});
    subscription.onChange((state) => states.push(state, subscription.state));
  }
  await settled();
  pod.cut(4003, 'go away');
  assert.deepEqual(told.r.slice(-2), ['away', 'away']);
  assert.deepEqual(told.closed.slice(-2), ['refused', 'refused']);
});

test('a client that the backend denies is closed, and one that it could not ask about comes back', async () => {
  for (const [code, kind, closeCode] of [
    ['forbidden', 'closed', 4003],
    ['limit_exceeded', 'closed', 4003],
    ['unauthorized', 'closed', 4001],
    ['unavailable', 'waiting'],
    ['rate_limited', 'waiting'],
  ]) {
    const { clock, pod, client } = world({ token: 'good' });
    pod.tamper = (message) => (message.type === 'done' ? { ...message, type: 'error', code, message: 'no' } : message);
    client.connect();
    await settled();
    if (code === 'unauthorized') await clock.advance(1_000);
    assert.deepEqual([client.state.kind, client.state.error?.closeCode], [kind, closeCode], code);
    client.close();
  }
});

test('of a function that has no token none is presented, and of a later one it is', async () => {
  for (const none of [undefined, () => undefined, () => null, async () => '']) {
    const { pod, client } = world({ token: none }, { accepts: (token) => (token ? { user: token } : undefined) });
    const subscription = client.subscribe('r');
    subscription.onError(() => {});
    await settled();
    assert.deepEqual([client.state.kind, subscription.error?.code], ['open', 'unauthorized']);
    assert.ok(!pod.commands.some(({ type }) => type === 'connect'), 'no empty token is presented');
    client.authenticate('ann');
    await settled();
    assert.deepEqual([client.state.kind, subscription.state], ['open', 'joined']);
    client.close();
  }
});

test('what a function threw instead of a token is told', async () => {
  const failure = new Error('the backend is away');
  let fails = true;
  const token = () => (fails ? Promise.reject(failure) : 'good');
  const { clock, client, reported } = world({ token });
  const subscription = client.subscribe('r');
  await settled();
  assert.deepEqual([client.state.kind, reported], ['waiting', [failure]]);
  fails = false;
  await clock.advance(1_000);
  assert.equal(subscription.state, 'joined');
  client.close();
});
