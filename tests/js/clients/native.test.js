// The native protocol as npm `ws` and `curl` see it, over TLS and without.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { Raw } from '../support/raw.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

for (const over of ['tlsUrl', 'plainUrl']) {
  describe(`over ${new URL(`${over === 'tlsUrl' ? 'wss' : 'ws'}:x`).protocol}`, () => {
    const open = (options) => Client.open(pod[over], options);

    test('welcome says who, how often to ping, and what is allowed', async () => {
      const { welcome, ws } = await open();
      assert.equal(ws.protocol, 'roomcast.v1');
      assert.match(welcome.connection, /./);
      assert.ok(welcome.version, welcome.raw);
      assert.ok(Number.isInteger(welcome.ping_interval) && welcome.ping_interval > 0, welcome.raw);
      for (const limit of ['max_message_bytes', 'max_rooms']) {
        assert.ok(Number.isInteger(welcome.limits[limit]) && welcome.limits[limit] > 0, welcome.raw);
      }
      ws.close();
    });

    test('what curl publishes arrives, in order, with offsets', async () => {
      const room = `plain:${over}`;
      const [a, b] = await Promise.all([open(), open()]);
      const start = await a.subscribe(room);
      await b.subscribe(room);
      const positions = [];
      for (let n = 0; n < 20; n++) positions.push(await pod.publish(room, { n }, { key: `k${n}`, id: `i${n}` }));
      for (const client of [a, b]) {
        const events = await client.events(room, 20, start.offset);
        assert.deepEqual(
          events.map(({ data }) => data.n),
          [...Array(20).keys()],
        );
        assert.deepEqual(
          events.map(({ offset }) => offset),
          positions.map(({ offset }) => offset),
        );
        assert.deepEqual(events.map(({ key, id, topic }) => [key, id, topic])[7], ['k7', 'i7', 'test']);
        assert.ok(events.every(({ time }) => Math.abs(Date.now() - time) < 60_000));
        assert.ok(events.every((event) => !('user' in event)));
      }
      assert.ok(positions.every(({ epoch }) => epoch === start.epoch && typeof epoch === 'string'));
      assert.deepEqual(
        [await a.close(), await b.close()].map(({ code }) => code),
        [1000, 1000],
      );
    });
  });
}

test('payloads pass as the bytes that were published', async () => {
  const client = await Client.open(pod.tlsUrl);
  await client.subscribe('plain:bytes');
  const data = '{"a":1.10,"big":12345678901234567890,"z":{"y":"\\u00e9","x":[1,  2]},"a2":1e2}';
  const { status, text } = await pod.post(`{"room":"plain:bytes","topic":"t","data":${data}}`);
  assert.equal(status, 200, text);
  const { raw } = await client.next('events');
  assert.ok(raw.includes(`"data":${data}`), raw);

  const answer = await pod.post('{"room":"plain:bytes","topic":"t","data64":"AP/+AQ=="}');
  assert.equal(answer.status, 200, answer.text);
  const [event] = (await client.next('events')).events;
  assert.equal(event.data64, 'AP/+AQ==');
  assert.ok(!('data' in event));
  await client.close();
});

test('several rooms on one connection keep apart', async () => {
  const client = await Client.open(pod.tlsUrl);
  const names = Array.from({ length: 10 }, (_, n) => `plain:many-${n}`);
  client.send({ type: 'subscribe', rooms: names.map((room) => ({ room })) });
  const starts = new Map();
  for (const room of names) starts.set(room, await client.next('subscribed', (reply) => reply.room === room));
  for (let n = 0; n < 5; n++) for (const room of names) await pod.publish(room, { room, n });
  for (const room of names) {
    const events = await client.events(room, 5, starts.get(room).offset);
    assert.deepEqual(
      events.map(({ data }) => data),
      Array.from({ length: 5 }, (_, n) => ({ room, n })),
    );
  }
  assert.deepEqual(client.pending, []);
  await client.close();
});

test('a batch window collects events into one frame', async () => {
  const client = await Client.open(pod.tlsUrl);
  const { offset } = await client.subscribe('batch:a');
  await Promise.all(Array.from({ length: 10 }, (_, n) => pod.publish('batch:a', { n })));
  const frames = [await client.next('events')];
  while (frames.at(-1).offset < offset + 10) frames.push(await client.next('events'));
  assert.equal(frames.flatMap(({ events }) => events).length, 10);
  assert.equal(frames[0].after, offset);
  // Ten curls are started together and the window is half a second: more than two frames is no batching.
  assert.ok(frames.length <= 2, `${frames.length} frames`);
  await client.close();
});

test('conflation keeps the newest of each topic or key, and the frame still covers all', async () => {
  const client = await Client.open(pod.tlsUrl);
  for (const [room, by] of [
    ['newest-topic:a', 'topic'],
    ['newest-key:a', 'key'],
  ]) {
    const { offset } = await client.subscribe(room);
    await Promise.all([
      ...Array.from({ length: 4 }, () => pod.publish(room, 'x', { [by]: 'left' })),
      ...Array.from({ length: 4 }, () => pod.publish(room, 'x', { [by]: 'right' })),
    ]);
    const frames = [await client.next('events', (message) => message.room === room)];
    while (frames.at(-1).offset < offset + 8) frames.push(await client.next('events'));
    for (const { events } of frames) {
      const names = events.map((event) => event[by]);
      assert.equal(new Set(names).size, names.length, `twice in one frame: ${names}`);
    }
    assert.ok(frames.flatMap(({ events }) => events).length < 8);
    assert.equal(frames[0].after, offset);
    assert.equal(frames.at(-1).offset, offset + 8);
  }
  await client.close();
});

test('retained values greet a new subscriber and move no position', async () => {
  for (const [key, data] of [
    ['a', 1],
    ['b', 2],
    ['a', 3],
  ])
    await pod.publish('retain:a', data, { key });
  const client = await Client.open(pod.tlsUrl);
  const { offset } = await client.subscribe('retain:a');
  const frame = await client.next('events', ({ retained }) => retained);
  assert.deepEqual(frame.events.map(({ key, data }) => [key, data]).sort(), [
    ['a', 3],
    ['b', 2],
  ]);
  assert.equal(offset, 3);
  await pod.publish('retain:a', 4, { key: 'c' });
  assert.equal((await client.events('retain:a', 1, offset))[0].offset, 4);
  await client.close();
});

test('after unsubscribe nothing comes', async () => {
  const client = await Client.open(pod.tlsUrl);
  await client.subscribe('plain:leave');
  await client.subscribe('plain:stay');
  assert.equal((await client.request({ type: 'unsubscribe', room: 'plain:leave' })).type, 'unsubscribed');
  await pod.publish('plain:leave', 1);
  await pod.publish('plain:stay', 2);
  assert.equal((await client.next('events')).room, 'plain:stay');
  await sleep(200);
  assert.deepEqual(client.pending, []);
  assert.equal((await client.request({ type: 'unsubscribe', room: 'plain:leave' })).code, 'not_subscribed');
  await client.close();
});

test('a client that comes back with its position gets exactly what it missed', async () => {
  const room = 'plain:recover';
  const first = await Client.open(pod.tlsUrl);
  const start = await first.subscribe(room);
  for (let n = 1; n <= 3; n++) await pod.publish(room, n);
  const seen = await first.events(room, 3, start.offset);
  first.ws.terminate();

  for (let n = 4; n <= 60; n++) await pod.publish(room, n);
  const since = { epoch: start.epoch, offset: seen.at(-1).offset };
  const back = await Client.open(pod.tlsUrl);
  const reply = await back.subscribe(room, since);
  assert.equal(reply.recovered, true, reply.raw);
  assert.deepEqual({ epoch: reply.epoch, offset: reply.offset }, since);
  await pod.publish(room, 61);
  const missed = await back.events(room, 58, since.offset);
  assert.deepEqual(
    missed.map(({ data }) => data),
    Array.from({ length: 58 }, (_, n) => n + 4),
  );

  // Nothing missed: recovered, and nothing comes again.
  const fresh = await Client.open(pod.tlsUrl);
  const now = { epoch: start.epoch, offset: missed.at(-1).offset };
  assert.equal((await fresh.subscribe(room, now)).recovered, true);
  await pod.publish(room, 62);
  assert.deepEqual(
    (await fresh.events(room, 1, now.offset)).map(({ data }) => data),
    [62],
  );
  await Promise.all([back.close(), fresh.close()]);
});

test('what cannot be recovered is said, and no part of it is sent', async () => {
  const room = 'short:a';
  for (let n = 1; n <= 10; n++) await pod.publish(room, n);
  const client = await Client.open(pod.tlsUrl);
  const { epoch, offset } = await client.subscribe(room);
  await client.request({ type: 'unsubscribe', room });
  for (const since of [
    { epoch, offset: 1 },
    { epoch: 'another', offset },
    { epoch, offset: offset + 5 },
  ]) {
    const reply = await client.subscribe(room, since);
    assert.equal(reply.recovered, false, `${JSON.stringify(since)}: ${reply.raw}`);
    assert.deepEqual([reply.epoch, reply.offset], [epoch, offset]);
    await client.request({ type: 'unsubscribe', room });
  }
  await sleep(200);
  assert.deepEqual(client.pending, []);
  // Within the five that the log keeps it is recovered.
  assert.equal((await client.subscribe(room, { epoch, offset: offset - 3 })).recovered, true);
  assert.deepEqual(
    (await client.events(room, 3, offset - 3)).map(({ data }) => data),
    [8, 9, 10],
  );
  await client.close();
});

test('a client publishes where the policy allows it', async () => {
  const [writer, reader] = await Promise.all([Client.open(pod.tlsUrl), Client.open(pod.tlsUrl)]);
  const { epoch, offset } = await reader.subscribe('open:a');
  const positions = [];
  for (let n = 0; n < 10; n++) {
    const reply = await writer.request({ type: 'publish', room: 'open:a', topic: 't', data: { n }, key: 'k' });
    assert.equal(reply.type, 'published', reply.raw);
    positions.push(reply.offset);
    assert.equal(reply.epoch, epoch);
  }
  const events = await reader.events('open:a', 10, offset);
  assert.deepEqual(
    events.map((event) => event.offset),
    positions,
  );
  assert.deepEqual(
    events.map(({ data }) => data.n),
    [...Array(10).keys()],
  );
  await Promise.all([writer.close(), reader.close()]);
});

test('the same idempotency key is one event', async () => {
  const more = { idempotency_key: 'once' };
  const first = await pod.publish('plain:once', 1, more);
  assert.deepEqual(await pod.publish('plain:once', 1, more), first);
  const other = await pod.post(JSON.stringify({ room: 'plain:once', topic: 'test', data: 2, ...more }));
  assert.deepEqual([other.status, JSON.parse(other.text).error.code], [409, 'conflict']);
  assert.equal((await pod.publish('plain:once', 2)).offset, first.offset + 1);
});

test('a publish that is sent again over another connection is one event', async () => {
  const [first, second, reader] = await Promise.all([1, 2, 3].map(() => Client.open(pod.tlsUrl)));
  const { offset } = await reader.subscribe('open:again');
  const say = {
    type: 'publish',
    room: 'open:again',
    topic: 't',
    data: { n: 1 },
    event_id: 'm1',
    idempotency_key: 'm1',
  };
  const published = await first.request(say);
  assert.equal(published.type, 'published', published.raw);
  const again = await second.request(say);
  assert.deepEqual([again.epoch, again.offset], [published.epoch, published.offset]);
  assert.equal((await second.request({ ...say, data: { n: 2 } })).code, 'conflict');
  assert.equal((await second.request({ ...say, data: { n: 2 }, idempotency_key: 'm2' })).offset, published.offset + 1);
  const events = await reader.events('open:again', 2, offset);
  assert.deepEqual(
    events.map(({ data, id }) => [data.n, id]),
    [
      [1, 'm1'],
      [2, 'm1'],
    ],
  );
  await Promise.all([first, second, reader].map((client) => client.close()));
});

test('presence lists members and tells of joins and leaves', async () => {
  const [a, b] = await Promise.all([Client.open(pod.tlsUrl), Client.open(pod.tlsUrl)]);
  await a.subscribe('seen:a');
  await b.subscribe('seen:a');
  await a.next('joined', ({ raw }) => raw.includes(b.welcome.connection));
  const list = await a.request({ type: 'presence', room: 'seen:a' });
  assert.equal(list.type, 'presence', list.raw);
  assert.ok(list.raw.includes(a.welcome.connection) && list.raw.includes(b.welcome.connection), list.raw);
  await b.close();
  await a.next('left', ({ raw }) => raw.includes(b.welcome.connection));
  assert.equal((await a.request({ type: 'presence', room: 'plain:a' })).code, 'not_available');
  await a.close();
});

test('history answers with past events', async () => {
  for (let n = 1; n <= 5; n++) await pod.publish('plain:past', n);
  const client = await Client.open(pod.tlsUrl);
  await client.subscribe('plain:past');
  const newest = await client.request({ type: 'history', room: 'plain:past', limit: 2 });
  assert.equal(newest.type, 'history', newest.raw);
  assert.deepEqual(
    newest.events.map(({ data, offset }) => [data, offset]),
    [
      [4, 4],
      [5, 5],
    ],
  );
  const since = { epoch: newest.epoch, offset: 1 };
  const next = await client.request({ type: 'history', room: 'plain:past', since, limit: 2 });
  assert.deepEqual(
    next.events.map(({ data }) => data),
    [2, 3],
  );
  await client.close();
});

test('ids of any kind come back, ping is answered', async () => {
  const client = await Client.open(pod.tlsUrl);
  client.send('{"type":"ping","id":"text"}');
  client.send('{"type":"ping","id":42}');
  client.send('{"type":"ping"}');
  assert.equal((await client.next('pong')).id, 'text');
  assert.equal((await client.next('pong')).id, 42);
  assert.ok(!('id' in (await client.next('pong'))));
  await client.close();
});

test('only an offered subprotocol is answered', async () => {
  const answered = async (offer) => {
    const raw = await Raw.upgrade(pod.plainPort, { headers: offer && { 'Sec-WebSocket-Protocol': offer } });
    assert.equal(raw.answer.status, 101);
    assert.equal((await raw.message()).type, 'welcome', 'native is spoken whatever was offered');
    raw.socket.destroy();
    return raw.answer.headers['sec-websocket-protocol'];
  };
  assert.equal(await answered('roomcast.v1'), 'roomcast.v1');
  assert.equal(await answered('chat, roomcast.v1'), 'roomcast.v1');
  assert.equal(await answered('chat'), undefined);
  assert.equal(await answered(undefined), undefined);
});

test('two requests on one connection: health first, then the upgrade', async () => {
  const raw = await Raw.connect(pod.plainPort);
  raw.send('GET /nothing-here HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const first = await raw.head();
  assert.equal(first.status, 404);
  await raw.skip(Number(first.headers['content-length']));
  raw.send(
    'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  assert.equal((await raw.head()).status, 101);
  assert.equal((await raw.message()).type, 'welcome');
  raw.socket.destroy();
});
