// What one part of an application does harms no other: a command that is too long, a room that is left, a client that is closed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { receipts } = await load('receipts');
const { signals } = await load('signals');
const { TestClock, TestPod, settled } = await load('testing');
const { unread } = await load('unread');

function world(of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, accepts: (user) => ({ user }), ...of });
  const reported = [];
  const connect = (token) =>
    new Client({
      url: 'https://pod',
      transports: [pod.transport],
      clock,
      storage: null,
      token,
      onError: (error) => reported.push(error),
    });
  return { clock, pod, reported, connect };
}

/** What a promise came to by now. */
async function outcome(promise) {
  let found = 'nothing';
  promise.then(
    (value) => (found = value),
    (error) => (found = `${error.code}: ${error.message}`),
  );
  await settled();
  return found;
}

test('a command that is too long for the connection is refused here, and the connection stays', async () => {
  const { clock, pod, reported, connect } = world({ maxMessageBytes: 400 });
  const client = connect();
  const { publish, request } = commands(client);
  // Nobody knows how much is taken, until there is a connection.
  const waited = ['é'.repeat(300), 'short', 'x'.repeat(400), 'shorter'].map((data) => publish('r', 't', data));
  const results = Promise.allSettled(waited);
  const subscription = client.subscribe('r', { load() {} });
  await clock.advance(1_000);
  assert.deepEqual(
    (await results).map(({ value, reason }) => value?.offset ?? [reason.code, reason.room]),
    [['limit_exceeded', 'r'], 1, ['limit_exceeded', 'r'], 2],
  );
  assert.match(await outcome(request({ type: 'anything', text: '☃'.repeat(130) })), /^limit_exceeded/);
  // As long as it may be is not too long, whichever characters it is of.
  const size = (data) => {
    const command = { type: 'publish', room: 'r', topic: 't', idempotency_key: 'k', data };
    return new TextEncoder().encode(JSON.stringify(command)).length + ',"id":1000000000'.length;
  };
  for (const letter of ['x', 'é', '☃', '𝄞', '"', '%', '\ud800']) {
    let data = '';
    while (size(data + letter) <= 400) data += letter;
    const before = pod.commands.length;
    const refused = await outcome(publish('r', 't', data + letter, { idempotencyKey: 'k' }));
    assert.match(String(refused), /^limit_exceeded/, letter);
    assert.equal(pod.commands.length, before, letter);
    pod.forget('r');
    const taken = await outcome(publish('r', 't', data, { idempotencyKey: 'k' }));
    assert.equal(taken.offset, 1, `${letter}: ${taken}`);
  }
  const shown = signals(client, 'r');
  await settled();
  shown.send('typing', 'x'.repeat(400));
  await settled();
  assert.deepEqual([client.state.kind, subscription.state, pod.connections], ['open', 'joined', 1]);
  assert.deepEqual(
    reported.map(({ code, room }) => [code, room]),
    [['limit_exceeded', 'r']],
  );
});

test('leaving the room that a user is in unasked silences nothing, however often it is followed', async () => {
  const { clock, pod, reported, connect } = world({ ownRoom: (user) => `user:${user}` });
  const [ann, bob] = [connect('ann'), connect('bob')];
  const own = receipts(ann);
  const mine = unread(ann, 'r');
  const { publish } = commands(ann);
  const theirs = unread(bob, 'r');
  const left = () => pod.commands.filter(({ type, room }) => type === 'unsubscribe' && room === 'user:ann').length;
  await clock.advance(1_000);
  for (let round = 0; round < 3; round++) {
    const panel = ann.subscribe('user:ann');
    await clock.advance(100);
    assert.equal(panel.state, 'joined');
    const before = left();
    panel.unsubscribe();
    await clock.advance(100);
    assert.equal(left(), before);
    const sent = publish('r', 't', round);
    await clock.advance(1_000);
    const position = await sent;
    theirs.read('r', position);
    await clock.advance(1_000);
    assert.deepEqual(own.readersOf('r', position), ['bob']);
    // A device of the same user reads.
    const other = connect('ann');
    const there = unread(other, 'r');
    await clock.advance(1_000);
    there.read('r', position);
    await clock.advance(1_000);
    assert.equal(mine.snapshot.total, 0);
    other.close();
    if (round === 1) pod.cut();
    await clock.advance(1_000);
  }
  // So is one that the server has given and taken away, once it is asked for.
  for (const type of ['subscribed', 'unsubscribed']) pod.say({ type, room: 'news', epoch: 'e', offset: 0 });
  await clock.advance(100);
  const news = ann.subscribe('news');
  await clock.advance(100);
  news.unsubscribe();
  await clock.advance(100);
  assert.ok(pod.commands.some(({ type, room }) => type === 'unsubscribe' && room === 'news'));
  // A room that was asked for is left.
  const asked = ann.subscribe('asked');
  await clock.advance(100);
  asked.unsubscribe();
  await clock.advance(100);
  assert.equal(pod.commands.filter(({ type, room }) => type === 'unsubscribe' && room === 'asked').length, 1);
  assert.deepEqual(reported, []);
});

test('on a client that is closed for good nothing waits for ever', async () => {
  const { clock, pod, reported, connect } = world();
  const client = connect();
  const old = client.subscribe('old');
  old.onError(() => {});
  await clock.advance(100);
  const loop = (async () => {
    for await (const _ of old);
  })();
  const away = client.subscribe('held');
  pod.tamper = (message) => (message.room === 'held' ? undefined : message);
  const pending = away.joined();
  const ends = Promise.allSettled([loop, pending]);
  await settled();
  pod.cut(4003, 'go away');
  await settled();
  const codes = (await ends).map(({ reason }) => [reason?.code, reason?.closeCode]);
  assert.deepEqual(codes, [
    ['closed', 4003],
    ['closed', 4003],
  ]);
  const late = client.subscribe('late');
  for (const one of [old, away, late]) {
    assert.equal(one.error?.closeCode, 4003);
    assert.equal(await outcome(one.joined()), 'closed: go away');
    assert.equal(await outcome(one[Symbol.asyncIterator]().next()), 'closed: go away');
  }
  // It may be opened again, and they go on.
  pod.tamper = undefined;
  client.connect();
  await clock.advance(100);
  assert.deepEqual([old.state, late.state, late.error], ['joined', 'joined', undefined]);
  client.close();
  assert.match(await outcome(late.joined()), /^aborted/);
  const later = client.subscribe('later');
  assert.match(await outcome(later.joined()), /^closed/);
  assert.match(await outcome(later[Symbol.asyncIterator]().next()), /^closed/);
  client.connect();
  await clock.advance(100);
  assert.deepEqual([later.state, reported], ['joined', []]);
  client.close();
});

test('a room that is asked for with a token that nobody takes is refused, and not waited for', async () => {
  const { clock, connect } = world({ accepts: () => undefined });
  const client = connect('bad');
  const joined = client.subscribe('r').joined();
  const loop = (async () => {
    for await (const _ of client.subscribe('r'));
  })();
  const ends = Promise.allSettled([joined, loop]);
  await clock.advance(60_000);
  assert.equal(client.state.kind, 'closed');
  assert.deepEqual(
    (await ends).map(({ reason }) => reason?.code),
    ['unauthorized', 'unauthorized'],
  );
});
