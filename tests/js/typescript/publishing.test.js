// What is published is what it was when it was published, and by whom: whatever becomes of its data, and whoever logs in meanwhile.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';
import { world } from '../support/world.js';

const { commands } = await load('commands');
const { receipts } = await load('receipts');
const { settled } = await load('testing');
const { unread } = await load('unread');

const sentTo = (pod, type) => pod.commands.filter((command) => command.type === type);

/** What a promise came to by now. */
async function outcome(promise) {
  let found = 'nothing';
  promise.then(
    (value) => (found = value),
    (error) => (found = error.code),
  );
  await settled();
  return found;
}

test('what waits is what it was when it was published, and the same when it is sent again', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  pod.isUp = false;
  const state = { count: 1 };
  const all = [publish('r', 't', state)];
  state.count = 2;
  all.push(publish('r', 't', state));
  pod.isUp = true;
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  await clock.advance(1_000);
  state.count = 3;
  pod.tamper = undefined;
  pod.cut();
  await clock.advance(10_000);
  assert.deepEqual(await Promise.all(all.map(outcome)), [
    { epoch: 'epoch-1', offset: 1 },
    { epoch: 'epoch-1', offset: 2 },
  ]);
  assert.deepEqual(
    sentTo(pod, 'publish').map(({ data }) => data.count),
    [1, 1, 2],
  );
});

test('what cannot be sent is refused at once, and holds up nothing', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  pod.isUp = false;
  const circle = {};
  circle.circle = circle;
  const all = ['first', circle, 1n, 'last'].map((data) => publish('r', 't', data));
  assert.deepEqual(await Promise.all(all.map(outcome)), ['nothing', undefined, undefined, 'nothing']);
  pod.isUp = true;
  await clock.advance(10_000);
  assert.deepEqual([(await all[0]).offset, (await all[3]).offset], [1, 2]);
});

test('a publish that does not wait fails with the connection, also behind others', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  const first = publish('r', 't', 1);
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  await settled();
  const behind = publish('r', 't', 2, { offline: 'fail' });
  await settled();
  pod.isUp = false;
  pod.cut();
  assert.equal(await outcome(behind), 'lost');
  pod.isUp = true;
  pod.tamper = undefined;
  await clock.advance(10_000);
  assert.equal((await first).offset, 1);
  assert.deepEqual(
    sentTo(pod, 'publish').map(({ data }) => data),
    [1, 1],
  );
});

test('after a login nothing is said in the name of the new user that the one before has said', async () => {
  const { clock, pod, connect } = world();
  for (const n of [1, 2, 3]) pod.publish('r', 't', n);
  const client = connect('ann');
  const { publish, request } = commands(client);
  const counts = unread(client, 'r');
  const marks = receipts(client);
  await settled();
  const position = counts.snapshot.rooms.get('r').position;
  counts.read('r', { ...position, offset: 2 });
  marks.deliver('r', { ...position, offset: 3 });
  await clock.advance(1_000);
  assert.equal(counts.snapshot.total, 1);
  // One is on its way, others wait.
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  const sent = publish('r', 't', 'of ann');
  await settled();
  pod.isUp = false;
  pod.cut();
  const waits = [publish('r', 't', 'of ann, later'), request({ type: 'status', status: 'busy' })];
  pod.isUp = true;
  pod.tamper = undefined;
  client.authenticate('bob');
  assert.deepEqual(await Promise.all([sent, ...waits].map(outcome)), ['unknown', 'lost', 'lost']);
  assert.equal(commands(client).waiting, 0);
  const before = pod.commands.length;
  await clock.advance(10_000);
  const since = pod.commands.slice(before).map(({ type }) => type);
  assert.ok(!since.some((type) => ['ack', 'publish', 'status'].includes(type)), `${since}`);
  // Of the four events bob has read none.
  assert.deepEqual([counts.snapshot.total, counts.snapshot.rooms.get('r').position.offset], [4, 0]);
  assert.deepEqual([(await publish('r', 't', 'of bob')).offset, marks.snapshot.size], [5, 0]);
});

test('what a user has read is said by nobody else: after an end, and in a room that was not joined yet', async () => {
  const { clock, pod, connect } = world();
  pod.publish('r', 't', 1);
  pod.publish('later', 't', 1);
  const client = connect('ann');
  const counts = unread(client, 'r');
  const marks = receipts(client);
  await settled();
  counts.read('r');
  marks.deliver('r', { epoch: 'epoch-1', offset: 1 });
  await clock.advance(1_000);
  pod.isUp = false;
  pod.cut();
  counts.follow('later');
  counts.read('later');
  await settled();
  const acks = sentTo(pod, 'ack').length;
  assert.equal(acks, 2);
  client.authenticate('bob');
  pod.isUp = true;
  await clock.advance(10_000);
  assert.deepEqual([client.state.kind, counts.snapshot.rooms.get('later').unread], ['open', 1]);
  assert.equal(sentTo(pod, 'ack').length, acks);
  counts.read('later');
  marks.deliver('later', { epoch: 'epoch-2', offset: 1 });
  await clock.advance(1_000);
  assert.equal(sentTo(pod, 'ack').length, acks + 2);
  client.close();
  client.authenticate('eve');
  client.connect();
  await clock.advance(10_000);
  assert.equal(client.state.kind, 'open');
  assert.equal(sentTo(pod, 'ack').length, acks + 2);
  client.close();
});
