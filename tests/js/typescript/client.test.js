// The TypeScript client against a pod in memory, with a clock that the test moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client, RoomcastError } = await load('index');
const { TestClock, TestPod, settled } = await load('testing');
const { commands } = await load('commands');
const { explain } = await load('explain');

/** A client of a pod in memory, and what it reports. */
async function world(options = {}, of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, ...of });
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

const sent = (pod, type) => pod.commands.filter((command) => command.type === type);

test('subscribing is the same before, during and after connecting, and one place in the room for all', async () => {
  const { pod, client } = await world();
  const seen = [];
  const before = client.subscribe('r', { event: ({ data }) => seen.push(`a${data}`) });
  await before.joined();
  const after = client.subscribe('r', { event: ({ data }) => seen.push(`b${data}`) });
  assert.equal(after.state, 'joined');
  await after.joined();
  pod.publish('r', 't', 1);
  before.unsubscribe();
  await settled();
  pod.publish('r', 't', 2);
  assert.deepEqual(seen, ['a1', 'b1', 'b2']);
  assert.equal(sent(pod, 'unsubscribe').length, 0, 'one still wants the room');
  after.unsubscribe();
  // As a framework does that mounts everything twice.
  client.subscribe('r').unsubscribe();
  const again = client.subscribe('r');
  await again.joined();
  assert.equal(sent(pod, 'unsubscribe').length, 0, 'it was wanted again in the same turn');
  again.unsubscribe();
  again.unsubscribe();
  await settled();
  assert.equal(sent(pod, 'unsubscribe').length, 1);
  assert.deepEqual(client.rooms, []);
});

test('a listener that throws harms neither the others nor the client', async () => {
  const { pod, client, reported } = await world();
  const seen = [];
  const subscription = client.subscribe('r', {
    event() {
      throw new Error('first');
    },
  });
  subscription.on('t', ({ data }) => seen.push(data));
  client.onState(() => {
    throw new Error('state');
  });
  await subscription.joined();
  pod.publish('r', 't', 1);
  pod.publish('r', 'other', 2);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(
    reported.map(({ message }) => message),
    ['state', 'first', 'first'],
  );
  assert.equal(client.state.kind, 'open');
});

test('it comes back at once when the network is, but not before the server wants it', async () => {
  const { clock, pod, client } = await world();
  await client.subscribe('r').joined();
  pod.isUp = false;
  pod.cut(1006);
  await clock.advance(60_000);
  assert.equal(client.state.kind, 'waiting');
  assert.ok(client.attempts.length < 15, `${client.attempts.length} attempts in a minute`);
  pod.isUp = true;
  client.wake();
  await settled();
  assert.equal(client.state.kind, 'open');

  pod.say({ type: 'reconnect', after_ms: 12_500 });
  await clock.advance(2_500);
  pod.cut(1012, 'restart');
  client.wake();
  await clock.advance(9_999);
  assert.equal(client.state.kind, 'waiting', 'the server named 10 s');
  await clock.advance(251);
  assert.equal(client.state.kind, 'open');
});

test('a connection that gives no sign of life is lost, one that only slept is not', async () => {
  const { clock, pod, client } = await world();
  await client.subscribe('r').joined();
  await clock.advance(120_000);
  assert.equal(client.state.kind, 'open', 'pings are answered');
  assert.equal(client.attempts.length, 1);
  pod.tamper = () => undefined;
  client.wake();
  await clock.advance(4_149);
  assert.equal(client.state.kind, 'open');
  await clock.advance(1);
  assert.equal(client.state.kind, 'waiting');
  assert.match(explain(client, clock.date()), /^Not connected: .*no sign of life/);
});

/** A transport that has its attempts done by others, in turn, the last one again and again. */
function inTurn(...transports) {
  const dialled = [];
  const dial = (to, on) => {
    const { dial } = transports[Math.min(dialled.length, transports.length - 1)];
    dialled.push(to);
    return dial(to, on);
  };
  return { ...transports[0], dialled, dial };
}
/** One that never answers. */
const hangs = { dial: () => ({ send() {}, close() {} }) };

test('a connection that died unnoticed is replaced as soon as the network is back, without a loss', async () => {
  const { clock, pod, client } = await world();
  const seen = [];
  const subscription = client.subscribe('r', { event: ({ data }) => seen.push(data) });
  await subscription.joined();
  let isDead = true;
  pod.tamper = (message) => (isDead ? undefined : message);
  pod.publish('r', 't', 1);
  const published = commands(client).publish('r', 't', 2);
  await clock.advance(1_000);
  client.wake();
  await clock.advance(149);
  isDead = false;
  assert.equal(client.attempts.length, 1, 'it may be slow');
  await clock.advance(1);
  assert.deepEqual([client.state.kind, client.attempts.length, pod.connections], ['open', 2, 1]);
  assert.equal((await published).offset, 2);
  assert.deepEqual([seen, subscription.state], [[1, 2], 'joined']);
  await clock.advance(60_000);
  assert.equal(client.attempts.length, 2);
});

test('a connection that is slow to answer when the network is back is kept', async () => {
  const late = {
    dial: (to, on) => pod.transport.dial(to, { ...on, message: (one) => clock.after(400, () => on.message(one)) }),
  };
  const { clock, pod, client } = await world();
  const transport = inTurn(pod.transport, late);
  const slow = new Client({ url: 'https://pod', transports: [transport], clock, storage: null });
  await slow.subscribe('r').joined();
  const { connection } = slow.state;
  let pong;
  pod.tamper = (message) => {
    if (message.type !== 'pong') return message;
    pong ??= message;
    return undefined;
  };
  slow.wake();
  await clock.advance(300);
  assert.equal(transport.dialled.length, 2);
  pod.tamper = undefined;
  pod.say(pong);
  await clock.advance(10_000);
  assert.deepEqual([slow.state.kind, slow.state.connection, pod.connections], ['open', connection, 1]);
  slow.close();
  client.close();
});

test('an attempt that the network has swallowed is begun anew when it is back, and then has its time', async () => {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const transport = inTurn({ ...pod.transport, ...hangs }, hangs, pod.transport);
  const client = new Client({ url: 'https://pod', transports: [transport], clock, storage: null });
  client.connect();
  await clock.advance(100);
  // As a browser tells of it: by several events.
  for (let event = 0; event < 3; event++) client.wake();
  await clock.advance(50);
  assert.equal(transport.dialled.length, 2);
  client.wake();
  await clock.advance(900);
  assert.equal(transport.dialled.length, 2, 'a slow network needs its time');
  await clock.advance(100);
  assert.deepEqual([transport.dialled.length, client.state.kind], [3, 'open']);
  client.close();
});

for (const code of [1008, 4003, 4011, 4029]) {
  test(`after close code ${code} it does not come back by itself`, async () => {
    const { clock, pod, client } = await world();
    const subscription = client.subscribe('r');
    await subscription.joined();
    const loop = subscription[Symbol.asyncIterator]().next();
    pod.cut(code, 'go away');
    await assert.rejects(loop, { code: 'closed', closeCode: code });
    await clock.advance(600_000);
    client.wake();
    assert.equal(client.state.kind, 'closed');
    assert.equal(client.attempts.length, 1);
    await assert.rejects(commands(client).publish('r', 't', 1), { code: 'closed' });
    client.connect();
    await subscription.joined();
  });
}

test('tokens are fetched one at a time, renewed before they end, and not presented again once refused', async () => {
  let valid = true;
  const presented = [];
  const calls = { now: 0, most: 0 };
  const { clock, pod, client, reported } = await world(
    {
      async token() {
        calls.most = Math.max(calls.most, ++calls.now);
        await undefined;
        calls.now -= 1;
        return valid ? `good-${presented.length}` : 'bad';
      },
    },
    {
      accepts(token) {
        presented.push(token);
        return token.startsWith('good') ? { expiresAt: clock.date() + 600_000 } : undefined;
      },
    },
  );
  await client.subscribe('r').joined();
  await clock.advance(480_000 - 1);
  assert.deepEqual(presented, ['good-0']);
  await clock.advance(1);
  assert.deepEqual(presented, ['good-0', 'good-1']);
  pod.say({ type: 'refresh', expires_at: clock.date() + 30_000 });
  await clock.advance(1_000);
  assert.deepEqual(presented.at(-1), 'good-2');
  assert.equal(client.attempts.length, 1, 'never a new connection');

  valid = false;
  pod.say({ type: 'refresh', expires_at: clock.date() + 30_000 });
  await clock.advance(1_000);
  assert.equal(reported[0].code, 'unauthorized');
  assert.equal(client.state.kind, 'open', 'the old one is in force');
  pod.cut(4002, 'token expired');
  await clock.advance(60_000);
  assert.equal(client.state.kind, 'closed');
  assert.equal(client.state.error.code, 'unauthorized');
  client.authenticate('good-again');
  await settled();
  assert.equal(client.state.kind, 'open');
  assert.equal(calls.most, 1);
});

test('a token that cannot be had is tried again', async () => {
  let fails = true;
  const { clock, client } = await world({
    token() {
      if (fails) throw new Error('the backend is away');
      return 'good';
    },
  });
  const subscription = client.subscribe('r');
  await clock.advance(5_000);
  assert.match(explain(client, clock.date()), /Not connected: .*no token: Error: the backend is away/);
  fails = false;
  await clock.advance(30_000);
  assert.equal(subscription.state, 'joined');
});

test('what is published offline waits, bounded and in order; it may be called off, or fail instead', async () => {
  const { clock, pod, client } = await world();
  const own = commands(client, { maxQueued: 3 });
  assert.equal(commands(client), own, 'one queue for all parts of an application');
  pod.isUp = false;
  const abort = new AbortController();
  const first = own.publish('r', 't', 1);
  const second = own.publish('r', 't', 2, { signal: abort.signal });
  const third = own.publish('r', 't', Uint8Array.of(3), { key: 'k' });
  await assert.rejects(own.publish('r', 't', 4), { code: 'queue_full' });
  await assert.rejects(own.publish('r', 't', 5, { offline: 'fail' }), { code: 'lost' });
  assert.equal(own.waiting, 3);
  abort.abort();
  await assert.rejects(second, { code: 'aborted' });
  assert.equal(own.waiting, 2);
  pod.isUp = true;
  await clock.advance(60_000);
  assert.equal((await first).offset, 1);
  assert.equal((await third).offset, 2);
  const { events } = await own.history('r');
  assert.deepEqual(
    events.map(({ data }) => data),
    [1, Uint8Array.of(3)],
  );
});

test('a publish whose answer is lost is sent again, before those that came later, and is one event', async () => {
  const { clock, pod, client } = await world();
  await client.subscribe('r').joined();
  const { publish, history } = commands(client);
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  const all = [1, 2].map((n) => publish('r', 't', n, { id: `m-${n}` }));
  const asked = history('r');
  await settled();
  pod.tamper = undefined;
  pod.cut();
  const late = publish('r', 't', 3);
  await clock.advance(10_000);
  assert.deepEqual(
    (await Promise.all([...all, late])).map(({ offset }) => offset),
    [1, 2, 3],
  );
  assert.equal((await asked).position.offset, 2, 'a question was answered before');
  const { events } = await history('r');
  assert.deepEqual(
    events.map(({ data, id }) => [data, id]),
    [
      [1, 'm-1'],
      [2, 'm-2'],
      [3, undefined],
    ],
  );
  const keys = sent(pod, 'publish').map(({ idempotency_key: key }) => key);
  assert.equal(keys.length, 5);
  assert.equal(new Set(keys).size, 3, 'each has one key');
});

test('a publish that did not arrive is sent again, but for one that does not wait or was called off', async () => {
  const { clock, pod, client } = await world();
  await client.subscribe('r').joined();
  const { publish, history } = commands(client);
  const abort = new AbortController();
  // They are on their way, and end there.
  const waits = publish('r', 't', 'waits');
  const fails = assert.rejects(publish('r', 't', 'fails', { offline: 'fail' }), { code: 'unknown' });
  const off = assert.rejects(publish('r', 't', 'off', { signal: abort.signal }), { code: 'aborted' });
  const own = publish('r', 't', 'own', { idempotencyKey: 'mine' });
  const asked = assert.rejects(history('r', { offline: 'fail' }), { code: 'lost' });
  pod.cut();
  abort.abort();
  await Promise.all([fails, off, asked]);
  await clock.advance(10_000);
  assert.deepEqual([(await waits).offset, (await own).offset], [1, 2]);
  assert.deepEqual(
    sent(pod, 'publish').map(({ data }) => data),
    ['waits', 'own'],
  );
  assert.equal(sent(pod, 'publish')[1].idempotency_key, 'mine');
});

test('a publish is not sent again when the server may have forgotten its key, whichever clock says so', async () => {
  for (const sleeps of [false, true]) {
    const { clock, pod, client } = await world();
    await client.subscribe('r').joined();
    const own = commands(client, { repeatWithin: 60_000 });
    pod.tamper = (message) => (message.type === 'published' ? undefined : message);
    const unknown = assert.rejects(own.publish('r', 't', 1), { code: 'unknown' });
    await settled();
    pod.isUp = false;
    pod.cut();
    if (sleeps) {
      // While a computer sleeps one clock of a browser may stand still.
      const { date } = clock;
      clock.date = () => date() + 60_001;
    } else await clock.advance(60_001);
    const later = own.publish('r', 't', 2);
    pod.isUp = true;
    pod.tamper = undefined;
    await clock.advance(40_000);
    await unknown;
    assert.equal((await later).offset, 2);
    assert.equal(sent(pod, 'publish').length, 2);
    client.close();
  }
});

test('when the client is closed, what was sent is unknown and what waited was not sent', async () => {
  const { pod, client } = await world();
  await client.subscribe('r').joined();
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  const sentOne = assert.rejects(commands(client).publish('r', 't', 1), { code: 'unknown' });
  await settled();
  pod.isUp = false;
  pod.cut();
  const waited = assert.rejects(commands(client).publish('r', 't', 2), { code: 'closed' });
  client.close();
  await Promise.all([sentOne, waited]);
});

test('a publish of which the server does not know whether it is there is asked about again, where it goes alone', async () => {
  const { clock, pod, client } = await world();
  pod.isUp = false;
  const all = [1, 2].map((n) => commands(client).publish('r', 't', n));
  const codes = ['unknown', 'unavailable', 'unknown'];
  pod.tamper = (message) => {
    const code = message.type === 'published' ? codes.shift() : undefined;
    return code ? { type: 'error', id: message.id, code, message: 'no answer of the broker' } : message;
  };
  pod.isUp = true;
  await clock.advance(60_000);
  assert.deepEqual(
    (await Promise.all(all)).map(({ offset }) => offset),
    [1, 2],
  );
  codes.push('unknown');
  await assert.rejects(commands(client).publish('r', 't', 3), { code: 'unknown' });
});

test('a publish that waited is sent again where a rate limit refused it, and none overtakes it', async () => {
  const { clock, pod, client } = await world();
  pod.isUp = false;
  const all = [1, 2, 3].map((n) => commands(client).publish('r', 't', n));
  let refusals = 2;
  // What is refused does not come to the pod.
  const { dial } = pod.transport;
  pod.transport.dial = (to, on) => {
    const link = dial(to, on);
    const refused = ({ id }) => on.message({ type: 'error', id, code: 'rate_limited', message: 'too fast' });
    const send = (command) => (command.type === 'publish' && refusals-- > 0 ? refused(command) : link.send(command));
    return { ...link, send };
  };
  pod.isUp = true;
  await clock.advance(60_000);
  assert.deepEqual(
    (await Promise.all(all)).map(({ offset }) => offset),
    [1, 2, 3],
  );
});

test('events that come while it loads wait, and those that the loaded state contains are left out', async () => {
  const { pod, client } = await world();
  const seen = [];
  const why = [];
  let loaded;
  client.subscribe('r', {
    load(context) {
      why.push(context.why);
      return new Promise((done) => (loaded = done));
    },
    event: ({ data }) => seen.push(data),
  });
  await settled();
  for (const n of [1, 2, 3]) pod.publish('r', 't', n);
  await settled();
  assert.deepEqual(seen, []);
  // The backend's state was read after the second event.
  loaded({ epoch: 'epoch-1', offset: 2 });
  await settled();
  assert.deepEqual(seen, [3]);
  pod.forget('r');
  await settled();
  pod.publish('r', 't', 4);
  loaded();
  await settled();
  assert.deepEqual(seen, [3, 4]);
  assert.deepEqual(why, ['joined', 'gap']);
});

test('a load that fails is repeated, and one that is out of date is aborted', async () => {
  const { clock, pod, client, reported } = await world();
  let attempts = 0;
  const signals = [];
  const subscription = client.subscribe('r', {
    load({ signal }) {
      signals.push(signal);
      if (++attempts <= 2) throw new Error(`attempt ${attempts}`);
      return attempts === 3 ? new Promise(() => {}) : undefined;
    },
  });
  await clock.advance(10_000);
  assert.equal(attempts, 3);
  assert.equal(reported.length, 2);
  assert.equal(subscription.isLoading, true);
  pod.forget('r');
  await settled();
  assert.equal(signals[2].aborted, true);
  assert.equal(subscription.isLoading, false);
});

test('without a load, missing events are an error that cannot be overlooked', async () => {
  const { pod, client, reported } = await world();
  const subscription = client.subscribe('r');
  await subscription.joined();
  const loop = (async () => {
    const seen = [];
    try {
      for await (const { data } of subscription) seen.push(data);
    } catch (error) {
      return { seen, error };
    }
  })();
  await settled();
  pod.publish('r', 't', 1);
  pod.forget('r');
  const { seen, error } = await loop;
  assert.deepEqual(seen, [1]);
  assert.ok(error instanceof RoomcastError);
  assert.equal(error.code, 'incomplete');
  pod.forget('r');
  assert.equal(reported.at(-1).code, 'incomplete');
});

test('a signal ends a subscription and its loops', async () => {
  const { pod, client } = await world();
  const abort = new AbortController();
  const subscription = client.subscribe('r', { signal: abort.signal });
  await subscription.joined();
  const seen = [];
  const loop = (async () => {
    for await (const { data } of subscription) seen.push(data);
  })();
  await settled();
  pod.publish('r', 't', 1);
  await settled();
  abort.abort();
  await loop;
  assert.deepEqual(seen, [1]);
  assert.equal(subscription.state, 'ended');
  await assert.rejects(subscription.joined(), { code: 'aborted' });
  const late = client.subscribe('r', { signal: abort.signal });
  assert.equal(late.state, 'ended');
  await settled();
  assert.deepEqual(client.rooms, []);
});

test('a room that is refused says so, and is asked for again with another token', async () => {
  let allowed = false;
  const { pod, client, reported } = await world({}, { allows: () => allowed });
  const errors = [];
  const subscription = client.subscribe('r');
  const stop = subscription.onError((error) => errors.push(error));
  await assert.rejects(subscription.joined(), { code: 'forbidden', room: 'r' });
  assert.equal(errors.length, 1);
  assert.match(explain(client), /The room r was refused: this connection may not join r \(forbidden\)/);
  allowed = true;
  stop();
  client.authenticate('another');
  await subscription.joined();
  pod.say({ type: 'unsubscribed', room: 'r', code: 'removed' });
  assert.equal(subscription.state, 'refused');
  assert.equal(reported.at(-1).code, 'removed', 'no listener takes it');
});

test('what a server puts a user into is told, and superseded by what the client asks', async () => {
  const { pod, client } = await world();
  const given = [];
  client.onRoom((room) => given.push(room));
  const loads = [];
  await client.subscribe('r', { load: ({ why }) => void loads.push(why) }).joined();
  pod.say({ type: 'subscribed', room: 'user:ann', epoch: 'e', offset: 3, recovered: false });
  assert.deepEqual(given, ['user:ann']);
  assert.deepEqual(loads, ['joined']);
});

test('a hole that a server leaves is mended from the position before it', async () => {
  const { pod, client } = await world();
  const seen = [];
  await client.subscribe('r', { event: ({ data }) => seen.push(data) }).joined();
  pod.publish('r', 't', 1);
  pod.tamper = (message) => (message.type === 'events' ? undefined : message);
  pod.publish('r', 't', 2);
  pod.tamper = undefined;
  pod.publish('r', 't', 3);
  await settled();
  assert.deepEqual(seen, [1, 2, 3]);
});

test('what comes twice is told once, also where it comes with something new', async () => {
  const { pod, client } = await world();
  const seen = [];
  await client.subscribe('r', { event: ({ data }) => seen.push(data) }).joined();
  const before = sent(pod, 'subscribe').length;
  for (const n of [1, 2, 3]) pod.publish('r', 't', n);
  const event = (offset) => ({ offset, topic: 't', time: 0, data: offset });
  const say = (after, offset, epoch = 'epoch-1') =>
    pod.say({ type: 'events', room: 'r', epoch, after, offset, events: [event(offset - 1), event(offset)] });
  say(1, 3);
  say(2, 4);
  await settled();
  assert.deepEqual(seen, [1, 2, 3, 4]);
  assert.equal(sent(pod, 'subscribe').length, before, 'nothing is missing');
  say(0, 2, 'another');
  assert.deepEqual(seen, [1, 2, 3, 4], 'of an epoch that it knows nothing of');
  await settled();
  assert.equal(sent(pod, 'subscribe').length, before + 1, 'it asks where the room is');
});
