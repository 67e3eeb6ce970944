// The TypeScript client against real pods: over each transport that Node has, through a proxy that cuts, and past the death of a pod.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { Redis } from '../support/redis.js';
import { Balancer } from '../support/tcp_balancer.js';
import { SECRET, token } from '../support/tokens.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { map } = await load('map');
const { presence } = await load('presence');
const { receipts } = await load('receipts');
const { signals } = await load('signals');
const { unread } = await load('unread');

/** Rooms in which no rate is in the way. */
const FAST = '\n[[policy]]\nmatch = ["fast:*"]\npublish = "anyone"\npublish_burst = 1000\npublish_per_second = 1000\n';
const PERSONAL = `anonymous = false
[acks]
every = "10ms"
[tokens]
hmac_secrets = ["${SECRET}"]
personal_room = "user:{user}"
[[policy]]
match = ["chat:*"]
publish = "user"
signal = "user"
signal_every = "0ms"
acks = "keep"
[[policy]]
match = ["dm:*"]
publish = "user"
acks = "receipts"
`;

let redis, pod, other, guarded, proxy;
const start = (ports) => Pod.start({ config: rooms + FAST, args: ['--redis', redis.url], ports });

before(async () => {
  redis = await Redis.start();
  [pod, other, guarded] = await Promise.all([start(), start(), Pod.start({ config: PERSONAL })]);
  proxy = await new Balancer().listen();
  proxy.endpoints.add(pod.plainPort);
});
after(async () => {
  await proxy?.close();
  await Promise.all([pod?.stop(), other?.stop(), guarded?.stop()]);
  await redis?.stop();
});

/** A client that ends with the test. */
function connect(t, options = {}) {
  const reported = [];
  const client = new Client({
    url: `http://127.0.0.1:${proxy.port}`,
    transports: ['websocket', 'poll'],
    WebSocket,
    storage: null,
    onError: (error) => reported.push(error),
    ...options,
  });
  t.after(() => {
    client.close();
    assert.deepEqual(reported, []);
  });
  return client;
}

const reach = (seen, count, what = 'events') =>
  until(
    () => seen.length >= count,
    20_000,
    () => `${seen.length} of ${count} ${what}: ${seen}`,
  );

/** What a room's follower sees: data in order, and why it had to load. */
function follow(client, room) {
  const follower = { seen: [], loads: [] };
  follower.subscription = client.subscribe(room, {
    load: ({ why }) => void follower.loads.push(why),
    event: ({ data }) => follower.seen.push(data),
  });
  return follower;
}

const upTo = (count) => Array.from({ length: count }, (_, n) => n + 1);

for (const transport of ['websocket', 'poll']) {
  test(`over ${transport}, a pod is killed and started again: each event comes once, in order`, async (t) => {
    const room = `plain:killed-${transport}`;
    const client = connect(t, { transports: [transport] });
    const { subscription, seen, loads } = follow(client, room);
    await subscription.joined();
    for (const n of upTo(5)) await other.publish(room, n);
    await reach(seen, 3);
    pod.running.signal('SIGKILL');
    await pod.exit;
    for (const n of [6, 7, 8]) await other.publish(room, n);
    await until(() => client.state.kind === 'waiting', 10_000, 'it does not notice');
    pod = await start(pod.ports);
    for (const n of [9, 10]) await other.publish(room, n);
    await reach(seen, 10);
    assert.deepEqual(seen, upTo(10));
    assert.deepEqual(loads, ['joined']);
  });

  test(`over ${transport}, through a proxy that cuts again and again, each event comes once, in order`, async (t) => {
    const client = connect(t, { transports: [transport] });
    const followers = ['a', 'b', 'c'].map((name) => follow(client, `plain:cut-${transport}-${name}`));
    await Promise.all(followers.map(({ subscription }) => subscription.joined()));
    for (const n of upTo(12)) {
      await Promise.all(followers.map(({ subscription }) => other.publish(subscription.room, n)));
      if (n % 3 === 0) proxy.cut();
    }
    for (const { seen, loads } of followers) {
      await reach(seen, 12);
      assert.deepEqual(seen, upTo(12));
      assert.deepEqual(loads, ['joined']);
    }
    assert.ok(client.attempts.length > 1, 'it was cut');
  });
}

for (const transport of ['websocket', 'poll']) {
  test(`what is published over ${transport} through a proxy that cuts is there once, in order`, async (t) => {
    const room = `fast:cut-${transport}`;
    const client = connect(t, { transports: [transport] });
    const { subscription, seen } = follow(client, room);
    await subscription.joined();
    const published = [];
    for (const n of upTo(60)) {
      published.push(commands(client).publish(room, 't', n));
      if (n % 10 === 0) {
        proxy.cut();
        await until(() => client.state.kind === 'open', 10_000, 'it does not come back');
      }
    }
    await Promise.all(published);
    const { events, complete } = await commands(client).history(room);
    assert.equal(complete, true);
    assert.deepEqual(
      events.map(({ data }) => data),
      upTo(60),
    );
    await reach(seen, 60);
    assert.deepEqual(seen, upTo(60));
  });
}

test('over long-polls, commands are answered, and one that is refused harms no other', async (t) => {
  const client = connect(t, { transports: ['poll'] });
  const { publish, history, request } = commands(client);
  const { subscription, seen } = follow(client, 'fast:sent');
  const first = publish('fast:sent', 't', 1);
  const refused = assert.rejects(publish('plain:sent', 't', 1), { code: 'forbidden', room: 'plain:sent' });
  assert.equal((await first).offset, 1);
  await refused;
  await subscription.joined();
  // More than go in one request.
  const many = await Promise.all(upTo(120).map((n) => publish('fast:sent', 't', `${n} `.padEnd(500, 'x'))));
  assert.deepEqual(
    many.map(({ offset }) => offset),
    upTo(120).map((n) => n + 1),
  );
  await reach(seen, 121);
  assert.equal((await history('fast:sent', { limit: 7 })).events.length, 7);
  await assert.rejects(request({ type: 'signal', room: 'fast:sent', topic: 't' }), { code: 'not_subscribed' });
  await assert.rejects(request({ type: 'nonsense' }), { code: 'unknown_command' });
  assert.equal(client.state.kind, 'open');
});

test('bytes, keys, history and presence are those of the server', async (t) => {
  const client = connect(t);
  const { publish, history } = commands(client);
  const received = [];
  const subscription = client.subscribe('open:bytes', { event: (event) => received.push(event) });
  await subscription.joined();
  const { offset } = await publish('open:bytes', 'still', Uint8Array.of(0, 255, 10), { key: 'cam' });
  await reach(received, 1);
  const { topic, key, data, retained, time } = received[0];
  assert.deepEqual(
    [topic, key, data, retained, received[0].offset],
    ['still', 'cam', Uint8Array.of(0, 255, 10), false, offset],
  );
  assert.ok(Math.abs(time - Date.now()) < 60_000);
  const { events, position } = await history('open:bytes', { limit: 1 });
  assert.deepEqual([events[0].data, position.offset], [data, offset]);

  const here = presence(client, 'seen:r');
  const guest = connect(t);
  await guest.subscribe('seen:r').joined();
  await until(() => here.isComplete && here.total === 2, 10_000, 'presence does not list both');
  assert.ok(here.members.has(client.state.connection) && here.members.has(guest.state.connection));
  guest.close();
  await until(() => here.members.size === 1, 10_000, 'presence lists one that has left');
  const closed = client.subscribe('closed:r');
  closed.onError(() => {});
  await assert.rejects(closed.joined(), { code: 'forbidden', room: 'closed:r' });
  await assert.rejects(publish('plain:r', 't', 1), { code: 'forbidden' });
  assert.equal(client.state.kind, 'open');
});

test('a map holds what a room retains, over each transport', async (t) => {
  for (const [key, value] of [
    ['a', 1],
    ['b', 2],
    ['a', 3],
  ]) {
    await other.publish('retain:fleet', value, { key });
  }
  for (const transport of ['websocket', 'poll']) {
    const client = connect(t, { transports: [transport] });
    await client.subscribe('retain:fleet').joined();
    const fleet = map(client, 'retain:fleet');
    const is = (a) => () => fleet.get('a')?.data === a && fleet.get('b')?.data === 2;
    await until(is(3), 10_000, () => `${transport}: ${JSON.stringify([...fleet])}`);
    await other.publish('retain:fleet', 4, { key: 'a' });
    await until(is(4), 10_000, () => `${transport}: ${JSON.stringify([...fleet])}`);
    await other.publish('retain:fleet', 3, { key: 'a' });
    fleet.close();
  }
});

for (const transport of ['websocket', 'poll']) {
  test(`over ${transport}, what a user has not read is one number on all devices, past a cut`, async (t) => {
    const room = `chat:unread-${transport}`;
    const proxy = await new Balancer().listen();
    t.after(() => proxy.close());
    proxy.endpoints.add(guarded.plainPort);
    const device = () =>
      connect(t, {
        url: `http://127.0.0.1:${proxy.port}`,
        transports: [transport],
        token: () => token(`reader-${transport}`),
      });
    for (const n of upTo(3)) await guarded.publish(room, n);
    const [phone, desk] = [device(), device()];
    const [here, there] = [unread(phone, room), unread(desk, room)];
    const is = (counts, wanted) =>
      until(
        () => counts.snapshot.rooms.get(room)?.unread === wanted && counts.snapshot.total === wanted,
        20_000,
        () => `${wanted} is ${JSON.stringify([...counts.snapshot.rooms])}`,
      );
    await Promise.all([is(here, 3), is(there, 3)]);
    here.read(room);
    await Promise.all([is(here, 0), is(there, 0)]);
    await commands(desk).publish(room, 't', 4);
    await Promise.all([is(here, 1), is(there, 1)]);
    proxy.endpoints.clear();
    proxy.cut();
    await until(() => phone.state.kind !== 'open' && desk.state.kind !== 'open', 20_000, 'nothing notices');
    await guarded.publish(room, 5);
    // It is said as soon as there is a connection.
    here.read(room, { ...here.snapshot.rooms.get(room).position, offset: 4 });
    await is(here, 0);
    proxy.endpoints.add(guarded.plainPort);
    await Promise.all([is(here, 1), is(there, 1)]);
  });
}

test('an author learns which users have read, and no other user does', async (t) => {
  const device = (user, claims) =>
    connect(t, { url: `http://127.0.0.1:${guarded.plainPort}`, token: () => token(user, claims) });
  const [ann, bob, cem, shy] = [device('ann'), device('bob'), device('cem'), device('shy', { receipts: false })];
  const [own, others] = [receipts(ann), receipts(bob)];
  const [first, second] = [await commands(ann).publish('dm:7', 't', 1), await commands(ann).publish('dm:7', 't', 2)];
  const counts = [bob, cem, shy].map((client) => unread(client, 'dm:7'));
  const is = (event, wanted) =>
    until(
      () => own.readersOf('dm:7', event).toSorted().join() === wanted,
      10_000,
      () => `${wanted} is ${JSON.stringify([...own.snapshot].map(([room, readers]) => [room, [...readers]]))}`,
    );
  await Promise.all([bob, cem, shy].map((client) => client.subscribe('dm:7').joined()));
  counts[2].read('dm:7');
  counts[0].read('dm:7');
  counts[1].read('dm:7', first);
  await is(first, 'bob,cem');
  await is(second, 'bob');
  counts[1].read('dm:7');
  await is(second, 'bob,cem');
  assert.equal(others.snapshot.size, 0);
  const third = await commands(ann).publish('dm:7', 't', 3);
  for (const client of [bob, shy]) receipts(client).deliver('dm:7', third);
  const isDelivered = () => own.deliveredTo('dm:7', third).join() === 'bob';
  await until(isDelivered, 10_000, () => `delivered to ${own.deliveredTo('dm:7', third)}`);
  assert.deepEqual(own.readersOf('dm:7', third), []);
});

test('the others see who types, until it stops or goes', async (t) => {
  const device = (user) => connect(t, { url: `http://127.0.0.1:${guarded.plainPort}`, token: () => token(user) });
  const [ann, bob, phone] = [device('ann'), device('bob'), device('ann')];
  const [own, seen, other] = [ann, bob, phone].map((client) => signals(client, 'chat:typing', { every: 0 }));
  await Promise.all([ann, bob, phone].map((client) => client.subscribe('chat:typing').joined()));
  const shows = (wanted) =>
    until(
      () =>
        JSON.stringify(seen.snapshot.map(({ topic, user, data }) => [topic, user, data])) === JSON.stringify(wanted),
      10_000,
      () => `${JSON.stringify(wanted)} is ${JSON.stringify(seen.snapshot)}`,
    );
  own.send('typing', { thread: 3 });
  await shows([['typing', 'ann', { thread: 3 }]]);
  assert.deepEqual([own.snapshot, other.snapshot], [[], []], 'the sender sees nothing of it');
  own.stop('typing');
  await shows([]);
  own.send('typing', null, { ttl: 60_000 });
  await shows([['typing', 'ann', null]]);
  ann.close();
  await shows([]);
});

test('over long-polls, only the room that is refused is refused', async (t) => {
  const client = connect(t, { transports: ['poll'] });
  const good = follow(client, 'plain:polled');
  const bad = client.subscribe('closed:polled');
  const errors = [];
  bad.onError((error) => errors.push(error.code));
  await assert.rejects(bad.joined(), { code: 'forbidden', room: 'closed:polled' });
  await good.subscription.joined();
  await other.publish('plain:polled', 1);
  await reach(good.seen, 1);
  assert.deepEqual(errors, ['forbidden']);
  const later = follow(client, 'plain:polled-later');
  await later.subscription.joined();
  await other.publish('plain:polled-later', 1);
  await reach(later.seen, 1);
});

test('it moves over from long-polls to a WebSocket, without a loss', async (t) => {
  let blocked = true;
  class Blocked extends WebSocket {
    constructor(url, protocols) {
      super(blocked ? 'ws://127.0.0.1:1/ws' : url, protocols);
    }
  }
  const client = connect(t, { WebSocket: Blocked });
  const { subscription, seen, loads } = follow(client, 'open:moved');
  await subscription.joined();
  assert.equal(client.state.transport, 'poll');
  await commands(client).publish('open:moved', 't', 1);
  await reach(seen, 1);
  blocked = false;
  await until(() => client.state.transport === 'websocket', 60_000, 'it does not move over');
  await commands(client).publish('open:moved', 't', 2);
  await reach(seen, 2);
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual(loads, ['joined']);
});

for (const transport of ['websocket', 'poll']) {
  test(`over ${transport}, tokens are presented, and the user's own room continues`, async (t) => {
    const url = `http://127.0.0.1:${guarded.plainPort}`;
    const user = `ann-${transport}`;
    let calls = 0;
    const client = connect(t, {
      url,
      transports: [transport],
      token: () => {
        calls += 1;
        return token(user);
      },
    });
    const given = [];
    client.onRoom((room) => given.push(room));
    const own = follow(client, `user:${user}`);
    await own.subscription.joined();
    await guarded.publish(`user:${user}`, 1);
    await reach(own.seen, 1);
    client.authenticate(() => token(user));
    await guarded.publish(`user:${user}`, 2);
    await reach(own.seen, 2);
    assert.deepEqual([own.seen, own.loads, calls], [[1, 2], ['joined'], 1]);

    const refused = connect(t, { url, transports: [transport], token: 'bad' });
    refused.connect();
    await until(() => refused.state.kind === 'closed', 10_000, 'a bad token is taken');
    assert.equal(refused.state.error.code, 'unauthorized');
  });
}

test('the server asks for a newer token, and sends a client away', async (t) => {
  let calls = 0;
  const client = connect(t, {
    url: `http://127.0.0.1:${guarded.plainPort}`,
    token: () => {
      calls += 1;
      return token('eve');
    },
  });
  client.connect();
  await until(() => client.state.kind === 'open', 10_000, 'it does not open');
  const order = (what, body) =>
    guarded.curl(`/api/users/eve/${what}`, '-H', `Authorization: Bearer ${Pod.key}`, '-d', JSON.stringify(body));
  await order('refresh', { within_ms: 60_000 });
  await until(() => calls === 2, 10_000, 'it asks for no newer token');
  assert.equal(client.attempts.length, 1);
  await order('disconnect', {});
  await until(() => client.state.kind === 'closed', 10_000, 'it comes back');
  assert.equal(client.state.error.closeCode, 4003);
});
