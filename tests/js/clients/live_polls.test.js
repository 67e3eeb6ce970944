// `--preset live-polls` with the client of its document: an unmodified `socket.io-client`, with the code printed there,
// `redis-cli PUBLISH` as the backend, and two pods behind a balancer without sticky sessions.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { balance } from '../support/http_balancer.js';
import { Pod } from '../support/pod.js';
import { Redis } from '../support/redis.js';
import { io } from '../support/socketio.js';

const PATIENCE = 30_000;
const TRANSPORTS = [['websocket'], ['polling'], ['polling', 'websocket']];
const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

let redis, pods, balancer;

const start = (env = {}, ports) =>
  Pod.start({
    dev: false,
    tls: false,
    ports,
    env: { REDIS_URL: redis.url, ...env },
    args: ['--preset', 'live-polls', '--advertise', '127.0.0.1', '--drain-delay', '0ms', '--drain-window', '0ms'],
  });

before(async () => {
  redis = await Redis.start();
  pods = await Promise.all([start(), start()]);
  balancer = await balance(pods.map((pod) => pod.plainPort));
  await taken(pods[0]);
});

after(async () => {
  await balancer?.stop();
  await Promise.all((pods ?? []).map((pod) => pod.stop()));
  await redis?.stop();
});

const publish = (session, message) => redis.cli('PUBLISH', `session:${session}`, JSON.stringify(message));

/** Waits until one of the pods takes plain messages in: it does as long as its lease lives. */
async function taken(pod) {
  const probe = await client(`http://127.0.0.1:${pod.plainPort}`, { sessionId: 'probe' });
  for (const deadline = Date.now() + 20_000; probe.events.length === 0; await sleep(100)) {
    assert.ok(Date.now() < deadline, 'nobody takes plain messages in');
    await publish('probe', { eventType: 'session:started', payload: {} });
  }
  probe.close();
}

async function until(holds, what) {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(10)) if (await holds()) return;
  throw new Error(`${typeof what === 'function' ? what() : what}, after ${PATIENCE} ms`);
}

/** A client that writes down all it is told, in order. */
function raw(url, query, options = {}) {
  const socket = io(url, { query, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  Object.assign(socket, { told: [], events: [], reasons: [] });
  socket.onAny((name, data) => {
    socket.told.push([name, data]);
    if (name === 'event') socket.events.push(data);
  });
  socket.on('disconnect', (reason) => socket.reasons.push(reason));
  return socket;
}

const established = (socket, times = 1) =>
  until(
    () => socket.told.filter(([name]) => name === 'connection:established').length >= times,
    () => JSON.stringify(socket.told),
  );

async function client(url, query, options) {
  const socket = raw(url, query, options);
  await established(socket);
  return socket;
}

const ids = (socket) => socket.events.map(({ eventId }) => eventId);

for (const transports of TRANSPORTS) {
  const how = transports.join(' then ');

  test(`${how}: the client of the document`, async () => {
    const sessionId = `doc-${transports.length}${transports[0]}`;
    const seen = { connected: [], events: [] };
    // As it is printed.
    const socket = io(balancer.url, {
      query: {
        sessionId,
        participantId: 'user456',
      },
      transports,
      forceNew: true,
    });
    socket.on('connection:established', (data) => {
      seen.connected.push(data);
    });
    socket.on('event', (event) => {
      seen.events.push(event);
    });
    socket.on('heartbeat:ping', () => {
      socket.emit('heartbeat:pong');
    });
    await until(() => seen.connected.length === 1, 'a connection');
    const [{ connectionId, serverTime, ...more }] = seen.connected;
    assert.deepEqual(more, { sessionId, participantId: 'user456', replayed: false });
    assert.ok(typeof connectionId === 'string' && connectionId.length > 8);
    assert.match(serverTime, iso);
    await publish(sessionId, {
      eventType: 'poll:activated',
      payload: { pollId: 'p1' },
      eventId: 'evt1',
      timestamp: '2026-02-03T10:30:00.000Z',
    });
    await publish(sessionId, { eventType: 'vote:accepted', payload: { voteId: 7, choices: [1, 2] } });
    await pods[1].publish(`session:${sessionId}`, { pollId: 'p1' }, { topic: 'poll:closed', id: 'evt3' });
    await pods[0].publish(`session:${sessionId}`, null, { topic: 'session:ended' });
    await until(
      () => seen.events.length === 4,
      () => JSON.stringify(seen.events),
    );
    for (const event of seen.events) {
      assert.deepEqual(Object.keys(event), ['eventId', 'eventType', 'timestamp', 'sessionId', 'payload']);
      assert.match(event.timestamp, iso);
      assert.equal(event.sessionId, sessionId);
      assert.ok(typeof event.eventId === 'string' && event.eventId.length > 0);
    }
    const [activated, accepted, closed, ended] = seen.events;
    assert.deepEqual(activated, {
      eventId: 'evt1',
      eventType: 'poll:activated',
      timestamp: '2026-02-03T10:30:00.000Z',
      sessionId,
      payload: { pollId: 'p1' },
    });
    assert.deepEqual([accepted.eventType, accepted.payload], ['vote:accepted', { voteId: 7, choices: [1, 2] }]);
    assert.deepEqual([closed.eventType, closed.eventId, closed.payload], ['poll:closed', 'evt3', { pollId: 'p1' }]);
    assert.deepEqual([ended.eventType, ended.payload], ['session:ended', null]);
    assert.equal(new Set(seen.events.map(({ eventId }) => eventId)).size, 4);
    assert.equal(socket.io.engine.transport.name, transports.at(-1));
    socket.close();
  });

  test(`${how}: who comes back with the id of its last event gets exactly what followed, on whatever pod`, async () => {
    const sessionId = `back-${transports.length}${transports[0]}`;
    const first = await client(`http://127.0.0.1:${pods[0].plainPort}`, { sessionId }, { transports });
    for (let n = 0; n < 6; n++) {
      // Every other event has its publisher's id.
      await publish(sessionId, {
        eventType: 'vote:accepted',
        payload: { n },
        ...(n % 2 && { eventId: `${sessionId}-${n}` }),
      });
    }
    await until(
      () => first.events.length === 6,
      () => JSON.stringify(first.events),
    );
    const all = first.events;
    first.close();
    for (const pod of pods) {
      for (const from of [0, 1, 4, 5]) {
        const url = `http://127.0.0.1:${pod.plainPort}`;
        const again = await client(url, { sessionId, fromEventId: all[from].eventId }, { transports });
        assert.equal(again.told[0][0], 'connection:established');
        assert.equal(again.told[0][1].replayed, true);
        const n = 100 * pods.indexOf(pod) + from;
        await publish(`${sessionId}`, { eventType: 'poll:closed', payload: { n } });
        await until(
          () => again.events.at(-1)?.payload.n === n,
          () => JSON.stringify(again.told),
        );
        const live = again.events.at(-1);
        all.push(live);
        assert.deepEqual(again.events, all.slice(from + 1), 'strictly after it, each once, in order, then live');
        again.close();
      }
    }
  });
}

test('an unknown or missing event id: nothing is replayed, and that is said', async () => {
  const sessionId = 'unknown';
  await publish(sessionId, { eventType: 'poll:created', payload: {}, eventId: 'known' });
  for (const fromEventId of ['nobody-knows', 'x:1', ':', 'a\u0000b', 'é'.repeat(500), '']) {
    const socket = await client(balancer.url, { sessionId, fromEventId });
    assert.equal(socket.told[0][1].replayed, false, fromEventId);
    await sleep(100);
    assert.deepEqual(socket.events, []);
    socket.close();
  }
  // Of another session it is as unknown.
  const other = await client(balancer.url, { sessionId: 'another', fromEventId: 'known' });
  assert.equal(other.told[0][1].replayed, false);
  other.close();
  const known = await client(balancer.url, { sessionId, fromEventId: 'known' });
  assert.equal(known.told[0][1].replayed, true, 'nothing followed, and nothing is missing');
  known.close();
});

test('an event that a publisher repeats is one event', async () => {
  const socket = await client(balancer.url, { sessionId: 'twice' });
  for (const eventId of ['a', 'a', 'b', 'a'])
    await publish('twice', { eventType: 'vote:accepted', payload: eventId, eventId });
  await until(
    () => socket.events.length >= 2,
    () => JSON.stringify(socket.events),
  );
  await sleep(200);
  assert.deepEqual(ids(socket), ['a', 'b']);
  socket.close();
});

test('500 clients come back at once with a few ids: each gets what it missed', async () => {
  const sessionId = 'crowd';
  const one = await client(balancer.url, { sessionId });
  for (let n = 0; n < 40; n++)
    await publish(sessionId, { eventType: 'vote:accepted', payload: { n }, eventId: `c${n}` });
  await until(
    () => one.events.length === 40,
    () => `${one.events.length}`,
  );
  one.close();
  const crowd = await Promise.all(
    Array.from({ length: 500 }, (_, n) =>
      client(balancer.url, { sessionId, fromEventId: `c${n % 40}` }, { transports: ['websocket'] }),
    ),
  );
  await until(() => crowd.every((socket, n) => socket.events.length === 39 - (n % 40)), 'each has what it missed');
  for (const [n, socket] of crowd.entries()) {
    assert.deepEqual(
      ids(socket),
      Array.from({ length: 39 - (n % 40) }, (_, m) => `c${(n % 40) + 1 + m}`),
    );
    socket.close();
  }
});

for (const transports of TRANSPORTS) {
  test(`${transports.join(' then ')}: kill -9 of its pod: the session is recovered by pid, and fromEventId is ignored`, async () => {
    const sessionId = `pid-${transports.length}${transports[0]}`;
    const victim = await start();
    const alone = await balance([victim.plainPort]);
    await publish(sessionId, { eventType: 'poll:created', payload: { n: -1 }, eventId: 'before' });
    const socket = await client(alone.url, { sessionId, fromEventId: 'before' }, { transports });
    for (let n = 0; n < 5; n++) await pods[0].publish(`session:${sessionId}`, { n }, { topic: 'vote:accepted' });
    await until(
      () => socket.events.length === 5,
      () => JSON.stringify(socket.events),
    );
    const { id } = socket;
    for (const pod of pods) alone.add(pod.plainPort);
    alone.remove(victim.plainPort);
    victim.process.kill('SIGKILL');
    await victim.exit;
    for (let n = 5; n < 10; n++) await pods[1].publish(`session:${sessionId}`, { n }, { topic: 'vote:accepted' });
    await established(socket, 2);
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    await pods[0].publish(`session:${sessionId}`, { n: 10 }, { topic: 'vote:accepted' });
    await until(
      () => socket.events.at(-1)?.payload.n === 10,
      () => JSON.stringify(socket.events),
    );
    assert.deepEqual(
      socket.events.map(({ payload }) => payload.n),
      Array.from({ length: 11 }, (_, n) => n),
      'each once',
    );
    const again = socket.told.filter(([name]) => name === 'connection:established').at(-1)[1];
    assert.equal(again.replayed, true);
    assert.deepEqual(socket.reasons.length, 1);
    socket.close();
    await alone.stop();
  });
}

test('a missing or bad sessionId: connection:error, then disconnect, and no coming back', async () => {
  for (const transports of TRANSPORTS) {
    for (const [query, code, message] of [
      [{}, 'bad_request', /^sessionId is missing/],
      [{ sessionId: '', participantId: 'x' }, 'bad_request', /^sessionId is missing/],
      [{ sessionId: 'a b' }, 'bad_room', /must not contain/],
      [{ sessionId: 'x'.repeat(300) }, 'bad_room', /at most/],
    ]) {
      const socket = raw(balancer.url, query, { transports });
      await until(
        () => socket.reasons.length === 1,
        () => JSON.stringify([query, socket.told]),
      );
      assert.deepEqual(
        socket.told.map(([name, { code }]) => [name, code]),
        [['connection:error', code]],
      );
      assert.match(socket.told[0][1].message, message);
      assert.deepEqual(socket.reasons, ['io server disconnect']);
      socket.close();
    }
  }
});

test('origins: the four of the document may, others are refused; CORS_ORIGINS replaces them', async () => {
  const ask = (pod, origin) =>
    fetch(`http://127.0.0.1:${pod.plainPort}/socket.io/?EIO=4&transport=polling&sessionId=a`, {
      headers: { Origin: origin },
    });
  const allowed = ['http://localhost:5173', 'http://localhost:3000', 'http://127.0.0.1:5173', 'http://127.0.0.1:3000'];
  for (const origin of allowed) {
    const answer = await ask(pods[0], origin);
    assert.deepEqual([answer.status, answer.headers.get('access-control-allow-origin')], [200, origin]);
  }
  for (const origin of ['http://evil.example', 'http://localhost:5174', 'null']) {
    const answer = await ask(pods[0], origin);
    assert.deepEqual([answer.status, answer.headers.get('access-control-allow-origin')], [403, null], origin);
  }
  const socket = raw(
    balancer.url,
    { sessionId: 'a' },
    { transports: ['websocket'], extraHeaders: { Origin: 'http://evil.example' }, reconnection: false },
  );
  const error = await new Promise((failed) => socket.once('connect_error', failed));
  assert.ok(error);
  socket.close();
  const own = await start({ CORS_ORIGINS: 'https://polls.example, https://www.polls.example' });
  try {
    assert.equal((await ask(own, 'https://www.polls.example')).status, 200);
    assert.equal((await ask(own, allowed[0])).status, 403);
  } finally {
    await own.stop();
  }
});

test('what a client says: signs of life are taken, all else is answered with an error, and the connection stays', async () => {
  const socket = await client(balancer.url, { sessionId: 'chatter' });
  socket.emit('heartbeat:pong');
  socket.emit('heartbeat:pong', { any: 'thing' });
  const acked = await socket.timeout(PATIENCE).emitWithAck('dance', 1);
  assert.equal(acked.ok, false);
  assert.equal(acked.code, 'unknown_command');
  socket.emit('dance', 2);
  await until(
    () => socket.told.some(([name]) => name === 'connection:error'),
    () => JSON.stringify(socket.told),
  );
  // Without a token nobody publishes.
  const event = { sessionId: 'chatter', eventType: 'poll:created', payload: {} };
  assert.equal((await socket.timeout(PATIENCE).emitWithAck('event', event)).code, 'forbidden');
  assert.equal(socket.connected, true);
  assert.deepEqual(socket.events, []);
  // Who floods is told, then closed.
  for (let n = 0; n < 80; n++) socket.emit('heartbeat:pong');
  await until(() => socket.told.some(([, data]) => data?.code === 'rate_limited'), 'the limit is said');
  socket.close();
});

test('what a publisher gets wrong is counted and reaches nobody', async () => {
  const socket = await client(balancer.url, { sessionId: 'unfit' });
  const unfit = async () => {
    const texts = await Promise.all(pods.map(async (pod) => (await pod.curl('/metrics')).text));
    const series = /roomcast_legacy_messages_total\{result="unfit"\} (\d+)/;
    return texts.reduce((sum, text) => sum + Number(series.exec(text)?.[1] ?? 0), 0);
  };
  const before = await unfit();
  await redis.cli('PUBLISH', 'session:unfit', 'no JSON');
  await publish('unfit', { payload: {} });
  await publish('unfit', { eventType: 'x'.repeat(300), payload: {} });
  await publish('unfit', { eventType: 'vote:rejected', payload: { reason: 'late' } });
  await until(() => socket.events.length > 0, 'an event');
  assert.deepEqual(
    socket.events.map(({ eventType }) => eventType),
    ['vote:rejected'],
  );
  assert.equal((await unfit()) - before, 3);
  socket.close();
});

describe('with tokens', () => {
  const secret = 'a-secret-of-thirty-two-bytes-or-more';
  const token = (claims, key = secret) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const input = `${part({ alg: 'HS256' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
    return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
  };
  let pod, url;
  before(async () => {
    pod = await start({ JWT_SECRET: secret });
    url = `http://127.0.0.1:${pod.plainPort}`;
  });
  after(() => pod?.stop());

  test('a participant joins the sessions that its claims name, and no other', async () => {
    const auth = {
      token: token({ sub: 'ann', role: 'participant', sessionId: 'mine', sessions: ['too', 'three', '*'] }),
    };
    for (const sessionId of ['mine', 'too', 'three']) {
      const socket = await client(url, { sessionId, participantId: 'somebody else' }, { auth });
      assert.equal(socket.told[0][1].participantId, 'ann', 'the token says who it is');
      socket.close();
    }
    for (const [sessionId, options] of [
      ['theirs', { auth }],
      ['*', { auth }],
      ['mine', {}],
    ]) {
      for (const transports of TRANSPORTS) {
        const socket = raw(url, { sessionId, fromEventId: 'x' }, { transports, ...options });
        await until(
          () => socket.reasons.length === 1,
          () => JSON.stringify(socket.told),
        );
        assert.deepEqual(
          socket.told.map(([name, { code }]) => [name, code]),
          [['connection:error', 'forbidden']],
          sessionId,
        );
        assert.deepEqual(socket.reasons, ['io server disconnect']);
        socket.close();
      }
    }
  });

  test('a bad token is refused', async () => {
    for (const bad of [
      token({ sub: 'ann', sessionId: 'mine' }, 'another-secret-of-thirty-two-bytes'),
      'x',
      token({ sub: 'ann', exp: 1 }),
    ]) {
      const socket = raw(url, { sessionId: 'mine' }, { auth: { token: bad }, reconnection: false });
      const error = await new Promise((failed) => socket.once('connect_error', failed));
      assert.equal(error.data?.code, 'unauthorized', error.message);
      assert.deepEqual(socket.told, []);
      socket.close();
    }
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling&sessionId=mine&token=x`);
    assert.equal(answer.status, 401);
  });

  test('a presenter publishes, a participant does not', async () => {
    const participant = await client(
      url,
      { sessionId: 's' },
      { auth: { token: token({ sub: 'p', role: 'participant', sessionId: 's' }) } },
    );
    const presenter = await client(
      url,
      { sessionId: 's' },
      { auth: { token: token({ participantId: 'q', role: 'presenter', sessionId: 's' }) } },
    );
    const event = { sessionId: 's', eventType: 'poll:activated', payload: { pollId: 1 } };
    const refused = await participant.timeout(PATIENCE).emitWithAck('event', event);
    assert.deepEqual([refused.ok, refused.code], [false, 'forbidden']);
    const taken = await presenter.timeout(PATIENCE).emitWithAck('event', event);
    assert.equal(taken.ok, true, JSON.stringify(taken));
    for (const socket of [participant, presenter]) {
      await until(
        () => socket.events.length === 1,
        () => JSON.stringify(socket.told),
      );
      const { timestamp, ...rest } = socket.events[0];
      assert.match(timestamp, iso);
      assert.deepEqual(rest, {
        eventId: taken.eventId,
        eventType: 'poll:activated',
        sessionId: 's',
        payload: { pollId: 1 },
      });
    }
    for (const bad of [
      { ...event, sessionId: 'other' },
      { ...event, eventType: '' },
      { ...event, payload: undefined },
      'x',
      undefined,
    ]) {
      const answer = await presenter.timeout(PATIENCE).emitWithAck('event', bad);
      assert.equal(answer.ok, false, JSON.stringify([bad, answer]));
    }
    // What roomcast called the event is where others go on.
    const again = await client(
      url,
      { sessionId: 's', fromEventId: taken.eventId },
      { auth: { token: token({ sub: 'p', sessionId: 's' }) } },
    );
    assert.deepEqual([again.told[0][1].replayed, again.events], [true, []]);
    for (const socket of [participant, presenter, again]) socket.close();
  });
});
