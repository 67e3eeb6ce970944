// What is built upon the TypeScript client: presence as a set, the newest value of each key as a map.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { TestClock, TestPod, settled } = await load('testing');
const { map } = await load('map');
const { presence } = await load('presence');

function world(of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, ...of });
  const reported = [];
  const connect = () =>
    new Client({
      url: 'https://pod',
      transports: [pod.transport],
      clock,
      storage: null,
      onError: (error) => reported.push(error),
    });
  return { clock, pod, reported, connect };
}

test('who is there is asked again where the answer was no for now', async () => {
  const { clock, pod, connect, reported } = world();
  const codes = ['unavailable', 'rate_limited'];
  pod.tamper = (message) => {
    if (message.type !== 'presence' || codes.length === 0) return message;
    return { type: 'error', id: message.id, code: codes.shift(), message: 'not now' };
  };
  const here = presence(connect(), 'r');
  await clock.advance(1_500);
  assert.deepEqual([here.isComplete, codes], [false, []]);
  await clock.advance(1_000);
  assert.deepEqual([here.isComplete, here.total, reported], [true, 1, []]);
  here.close();
});

test('presence is a set that is kept up to date, right after a reconnect too', async () => {
  const { clock, pod, connect, reported } = world();
  const [ann, bob] = [connect(), connect()];
  const here = presence(ann, 'r');
  const changes = [];
  here.onChange(() => {
    throw new Error('a listener');
  });
  here.onChange(({ total }) => changes.push(total));
  await settled();
  assert.deepEqual([here.total, here.isComplete, [...here.members.keys()]], [1, true, ['c1']]);
  await bob.subscribe('r').joined();
  assert.deepEqual([...here.members.keys()], ['c1', 'c2']);
  pod.cut();
  await clock.advance(1_000);
  assert.deepEqual([here.total, [...here.members.keys()].sort()], [2, ['c3', 'c4']]);
  bob.close();
  assert.equal(here.total, 1);
  assert.equal(changes.at(-1), 1);
  assert.ok(reported.every(({ message }) => message === 'a listener') && reported.length > 0);

  pod.say({ type: 'presence', room: 'r', total: 4_012 });
  assert.deepEqual([here.total, here.isComplete, here.members.size], [4_012, false, 0]);
  pod.say({ type: 'joined', room: 'r', total: 4_013, members: [{ connection: 'late' }] });
  assert.deepEqual([here.total, here.members.size], [4_013, 0], 'a part is not shown as the whole');
  pod.say({
    type: 'presence',
    room: 'r',
    total: 2,
    members: [
      { connection: 'x', user: 'u' },
      { connection: 'y', user: 'u' },
    ],
  });
  assert.deepEqual([here.isComplete, [...here.users]], [true, ['u']]);
  pod.say({ type: 'signal', room: 'r', topic: 'typing', user: 'u', ttl: 5_000, time: 1 });
  assert.deepEqual(
    [here.total, here.isComplete, here.members.size],
    [2, true, 2],
    'a signal says nothing of who is here',
  );
  here.close();
  await settled();
  assert.deepEqual(ann.rooms, []);
});

test('a map lets go of a value whose event is deleted', async () => {
  const { pod, connect } = world({ retains: () => true });
  for (const [n, key] of ['bus-7', 'bus-8'].entries()) pod.publish('fleet', 'moved', n, { key });
  const fleet = map(connect(), 'fleet');
  let changes = 0;
  await settled();
  fleet.onChange(() => (changes += 1));
  pod.publish('fleet', '$deleted', { offsets: [1, 99] });
  assert.deepEqual([[...fleet.keys()], changes], [['bus-8'], 1]);
  // What is older does not bring it back, what is newer does.
  pod.say({ type: 'events', room: 'fleet', events: [{ offset: 1, topic: 'moved', key: 'bus-7', data: 0, time: 0 }] });
  assert.deepEqual([...fleet.keys()], ['bus-8']);
  pod.publish('fleet', 'moved', 4, { key: 'bus-7' });
  assert.deepEqual([...fleet.keys()].sort(), ['bus-7', 'bus-8']);
  fleet.close();
});

test('a map holds the newest event of each key, those that the room keeps first', async () => {
  const { pod, connect } = world({ retains: () => true });
  pod.publish('fleet', 'moved', 1, { key: 'bus-7' });
  pod.publish('fleet', 'moved', 2, { key: 'bus-8' });
  const client = connect();
  const others = [];
  // Joined before by another part of the application, which must not notice.
  await client
    .subscribe('fleet', { load: () => void others.push('load'), event: ({ offset }) => others.push(offset) })
    .joined();
  const fleet = map(client, 'fleet', { removes: ['gone'] });
  const values = () => Object.fromEntries([...fleet].map(([key, { data }]) => [key, data]));
  let changes = 0;
  fleet.onChange(() => (changes += 1));
  await settled();
  assert.deepEqual(values(), { 'bus-7': 1, 'bus-8': 2 });
  const { snapshot } = fleet;
  assert.equal(fleet.snapshot, snapshot);
  pod.publish('fleet', 'moved', 3, { key: 'bus-7' });
  pod.publish('fleet', 'gone', null, { key: 'bus-8' });
  assert.deepEqual(values(), { 'bus-7': 3 });
  assert.notEqual(fleet.snapshot, snapshot);
  assert.equal(snapshot.size, 2);
  // Values that the room keeps may be newer than the position: what follows is older then.
  pod.say({
    type: 'events',
    room: 'fleet',
    events: [
      { offset: 1, topic: 'moved', key: 'bus-7', data: 1, time: 0 },
      { offset: 2, topic: 'moved', key: 'bus-8', data: 2, time: 0 },
    ],
  });
  assert.deepEqual(values(), { 'bus-7': 3 });
  assert.ok(changes >= 3);
  assert.deepEqual(others.slice(0, 5), ['load', 1, 2, 3, 4], 'no value twice, no second load');
  const before = changes;
  fleet.close();
  pod.publish('fleet', 'moved', 9, { key: 'bus-7' });
  assert.equal(changes, before);
});

test('a map begins anew where events are missing', async () => {
  const { pod, connect } = world({ retains: () => true });
  const fleet = map(connect(), 'fleet', { topics: ['moved'] });
  await settled();
  pod.publish('fleet', 'moved', 1, { key: 'a' });
  pod.publish('fleet', 'parked', 1, { key: 'b' });
  pod.publish('fleet', 'moved', 1);
  assert.deepEqual([...fleet.keys()], ['a']);
  pod.forget('fleet');
  await settled();
  assert.deepEqual([...fleet.keys()], []);
});
