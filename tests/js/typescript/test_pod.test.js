// The pod in memory answers as the real one: what an application's tests see is what its users will.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client, RoomcastError } = await load('index');
const { commands } = await load('commands');
const { map } = await load('map');
const { rpc } = await load('rpc');
const { signals } = await load('signals');
const { TestClock, TestPod, settled } = await load('testing');

function world(of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, accepts: (user) => ({ user }), ...of });
  const connect = (token) => {
    const client = new Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null, token });
    client.connect();
    return client;
  };
  return { pod, connect };
}

const brief = ({ events, position, complete }) => [events.map(({ offset }) => offset), position.offset, complete];

test('history is the newest events, or those behind a position of the same log', async () => {
  const { pod, connect } = world();
  const { history, request } = commands(connect('ann'));
  let epoch;
  for (let n = 1; n <= 5; n++) ({ epoch } = pod.publish('r', 't', n));
  const asked = async (options) => brief(await history('r', options));
  // What the server answered to the same questions.
  assert.deepEqual(await asked(), [[1, 2, 3, 4, 5], 5, true]);
  assert.deepEqual(await asked({ limit: 2 }), [[4, 5], 5, false]);
  assert.deepEqual(await asked({ since: { epoch, offset: 2 } }), [[3, 4, 5], 5, true]);
  assert.deepEqual(await asked({ since: { epoch, offset: 2 }, limit: 2 }), [[3, 4], 4, false]);
  assert.deepEqual(await asked({ since: { epoch: 'another', offset: 2 }, limit: 2 }), [[1, 2], 2, false]);
  assert.deepEqual(await asked({ since: { epoch: 'another', offset: 2 } }), [[1, 2, 3, 4, 5], 5, false]);
  assert.deepEqual(await asked({ since: { epoch, offset: 9 } }), [[], 5, false]);
  assert.deepEqual(await asked({ since: { epoch, offset: 5 } }), [[], 5, true]);
  assert.deepEqual(await asked({ limit: 0 }), [[], 5, false]);
  const { after } = await request({ type: 'history', room: 'r', limit: 2 });
  assert.equal(after, 3);
});

test('a key of a publish belongs to one event', async () => {
  const { pod, connect } = world();
  const { publish } = commands(connect('ann'));
  const first = await publish('r', 't', 1, { idempotencyKey: 'k', key: 'a' });
  assert.deepEqual(await publish('r', 't', 1, { idempotencyKey: 'k', key: 'a' }), first);
  for (const [topic, data, more] of [
    ['t', 2, { key: 'a' }],
    ['u', 1, { key: 'a' }],
    ['t', 1, { key: 'b' }],
    ['t', 1, { key: 'a', id: 'm' }],
    ['t', Uint8Array.of(1), { key: 'a' }],
  ])
    await assert.rejects(publish('r', topic, data, { idempotencyKey: 'k', ...more }), { code: 'conflict' });
  assert.equal((await publish('other', 't', 2, { idempotencyKey: 'k' })).offset, 1);
  assert.equal(pod.publish('r', 't', 3).offset, 2, 'nothing of it was published');
});

test('an author deletes its event, and another user does not', async () => {
  const { pod, connect } = world({ retains: () => true });
  const [ann, bob] = [commands(connect('ann')), commands(connect('bob'))];
  const watcher = connect('cem');
  const seen = [];
  watcher.subscribe('r', { event: ({ topic, data }) => seen.push([topic, data]) });
  const shown = map(watcher, 'r');
  await settled();
  const at = await ann.publish('r', 't', 'secret', { key: 'a', id: 'm-1' });
  assert.equal(shown.size, 1);
  const remove = ({ request }, position) => request({ type: 'delete', room: 'r', ...position });
  await assert.rejects(remove(bob, at), { code: 'forbidden', room: 'r' });
  await assert.rejects(remove(ann, { ...at, offset: 9 }), { code: 'bad_position' });
  await assert.rejects(remove(ann, { ...at, epoch: 'another' }), { code: 'bad_position' });
  for (let n = 0; n < 2; n++) assert.equal((await remove(ann, at)).type, 'done');
  assert.deepEqual(seen, [
    ['t', 'secret'],
    ['$deleted', { offsets: [1], ids: ['m-1'] }],
  ]);
  assert.equal(shown.size, 0);
  const { events } = await ann.history('r');
  assert.deepEqual(
    events.map(({ topic, data, id, user }) => [topic, data, id, user]),
    [
      ['$deleted', { offsets: [1] }, 'm-1', undefined],
      ['$deleted', { offsets: [1], ids: ['m-1'] }, undefined, 'ann'],
    ],
  );
  const late = map(connect('dan'), 'r');
  await settled();
  assert.equal(late.size, 0, 'a deletion is no value that the room keeps');
  pod.publish('r', 't', 'kept', { key: 'b' });
  assert.equal(late.size, 1);
});

test('a user says its status, and calls reach the application', async () => {
  const calls = async (method, data, user) => {
    if (method === 'refuse') throw new RoomcastError('forbidden', 'not you');
    if (method === 'break') throw new Error('oh');
    return method === 'nothing' ? undefined : { method, data, user };
  };
  const { connect } = world({ calls });
  const client = connect('ann');
  const { request } = commands(client);
  const seen = [];
  client.subscribe('presence:ann', { event: ({ topic, data }) => seen.push([topic, data]) });
  await settled();
  assert.equal((await request({ type: 'status', status: 'busy' })).type, 'done');
  assert.equal((await request({ type: 'status', hidden: true })).type, 'done');
  await assert.rejects(request({ type: 'status', status: 'nope' }), { code: 'bad_request' });
  await assert.rejects(commands(connect()).request({ type: 'status', status: 'busy' }), { code: 'unauthorized' });
  assert.deepEqual(seen, [['presence', { user: 'ann', status: 'busy' }]]);
  assert.deepEqual(await rpc(client, 'vote', { for: 3 }), { method: 'vote', data: { for: 3 }, user: 'ann' });
  assert.deepEqual((await rpc(client, 'bytes', Uint8Array.of(7))).data, Uint8Array.of(7));
  assert.equal(await rpc(client, 'nothing'), undefined);
  await assert.rejects(rpc(client, 'refuse'), { code: 'forbidden', message: 'not you' });
  await assert.rejects(rpc(client, 'break'), { code: 'failed' });
  const without = world().connect('ann');
  await settled();
  await assert.rejects(rpc(without, 'vote'), { code: 'not_available' });
});

test('a signal that is sent again holds from then on, with and without a clock of the test', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const connect = () => new Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null });
  const [one, other] = [connect(), connect()];
  const typing = signals(one, 'r');
  const seen = signals(other, 'r');
  await settled();
  const ends = [];
  seen.onChange(({ snapshot }) => snapshot.length === 0 && ends.push(clock.now()));
  for (let time = 0; time < 4; time++) {
    typing.send('typing', null, { ttl: 2_000 });
    await clock.advance(1_500);
  }
  await clock.advance(5_000);
  assert.deepEqual(ends, [6_500], 'once, two seconds after the last one');

  const bare = new TestPod();
  const told = [];
  const clients = [1, 2].map(() => new Client({ url: 'https://pod', transports: [bare.transport], storage: null }));
  const [by, to] = clients.map((client) => client.subscribe('r'));
  to.onMessage(({ type, ttl }) => type === 'signal' && told.push(ttl));
  await Promise.all([by.joined(), to.joined()]);
  await commands(clients[0]).request({ type: 'signal', room: 'r', topic: 'typing', ttl: 20 });
  await new Promise((done) => setTimeout(done, 100));
  assert.deepEqual(told, [20, 0]);
  for (const client of [...clients, one, other]) client.close();
});

test('a client without a token is let in where tokens are not needed, and nowhere else', async () => {
  for (const [accepts, code] of [
    [undefined, undefined],
    [(token) => ({ user: token }), undefined],
    [(token) => (token ? { user: token } : undefined), 'unauthorized'],
  ]) {
    const pod = new TestPod({ accepts });
    const client = new Client({ url: 'https://pod', transports: [pod.transport], storage: null, onError() {} });
    const joined = await client
      .subscribe('r')
      .joined()
      .catch((error) => error);
    assert.equal(joined.code, code);
    const called = await commands(client)
      .request({ type: 'publish', room: 'r', topic: 't' })
      .catch((error) => error);
    assert.equal(called.code, code);
    client.close();
  }
});
