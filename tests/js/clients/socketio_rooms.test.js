// Rooms over Socket.IO: the unmodified client against real pods, alone and as a fleet over Redis behind a balancer without
// sticky sessions; sessions that come back, their pod killed or not.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { balance } from '../support/http_balancer.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { Redis, RedisCluster } from '../support/redis.js';
import { PATIENCE, back, client, drop, join, numbers, once, survives, until } from '../support/room_client.js';
import { io } from '../support/socketio.js';

const config = `${rooms}\n[socketio]\nenabled = true\n`;

for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
  describe(`one pod, ${transports.join(' then ')}`, () => {
    let pod, url;
    before(async () => {
      pod = await Pod.start({ config });
      url = `http://127.0.0.1:${pod.plainPort}`;
    });
    after(() => pod?.stop());

    test('commands are answered by acknowledgement, events come', async () => {
      const socket = await client(url, { transports });
      await until(() => socket.welcome, 'a welcome');
      assert.ok(socket.welcome.limits.max_rooms > 0);
      await join(socket, 'open:a');
      const again = await socket.timeout(PATIENCE).emitWithAck('subscribe', { room: 'open:a' });
      assert.deepEqual([again.type, again.code], ['error', 'already_subscribed']);
      const published = await socket
        .timeout(PATIENCE)
        .emitWithAck('publish', { room: 'open:a', topic: 't', data: { n: 1 } });
      assert.equal(published.type, 'published');
      await pod.publish('open:a', { n: 2 });
      await until(() => socket.seen['open:a']?.length === 2, 'two events');
      assert.deepEqual(socket.seen['open:a'], [1, 2]);
      const large = await socket
        .timeout(PATIENCE)
        .emitWithAck('publish', { room: 'open:large', topic: 't', data: 'x'.repeat(200_000) });
      assert.equal(large.type, 'published', 'what is told as `maxPayload` is taken');
      const unknown = await socket.timeout(PATIENCE).emitWithAck('dance', {});
      assert.deepEqual([unknown.type, unknown.code], ['error', 'unknown_command']);
      socket.emit('subscribe', { room: 'closed:x' });
      const [error] = await once(socket, 'error');
      assert.deepEqual([error.code, error.room], ['forbidden', 'closed:x']);
      socket.close();
    });

    test('a publish that is sent again by another client is one event', async () => {
      const [one, other] = [await client(url, { transports }), await client(url, { transports })];
      const room = 'open:again';
      await join(one, room);
      const key = `m-${transports.join('-')}`;
      const say = (socket, n, more = {}) =>
        socket
          .timeout(PATIENCE)
          .emitWithAck('publish', { room, topic: 't', data: { n }, idempotency_key: key, ...more });
      const published = await say(one, 1);
      assert.equal(published.type, 'published', JSON.stringify(published));
      assert.deepEqual(await say(other, 1), published);
      const refused = await say(other, 2);
      assert.deepEqual([refused.type, refused.code], ['error', 'conflict']);
      assert.equal((await say(other, 3, { idempotency_key: `${key}-3` })).offset, published.offset + 1);
      await until(() => one.seen[room]?.length === 2, 'two events');
      assert.deepEqual(one.seen[room], [1, 3]);
      one.close();
      other.close();
    });

    test('a room that is left at once: both commands are acknowledged, and it can be entered anew', async () => {
      const socket = await client(url, { transports });
      await join(socket, 'open:before');
      const say = (command) => socket.timeout(PATIENCE).emitWithAck(command, { room: 'retain:left' });
      const [joined, left, again, last] = await Promise.all(
        ['subscribe', 'unsubscribe', 'subscribe', 'unsubscribe'].map(say),
      );
      for (const answer of [joined, again])
        assert.ok(answer.type === 'subscribed' || answer.code === 'not_subscribed', JSON.stringify(answer));
      assert.deepEqual([left.type, last.type], ['unsubscribed', 'unsubscribed']);
      await join(socket, 'retain:left');
      await pod.publish('retain:left', { n: 7 });
      await until(() => socket.seen['retain:left']?.length === 1, 'an event, once');
      socket.close();
    });

    test('binary data stay binary, both ways', async () => {
      const socket = await client(url, { transports });
      await join(socket, 'open:bytes');
      const data = Buffer.from([0, 1, 254, 255]);
      const published = await socket.timeout(PATIENCE).emitWithAck('publish', { room: 'open:bytes', topic: 't', data });
      assert.equal(published.type, 'published', JSON.stringify(published));
      await until(() => socket.seen['open:bytes']?.length === 1, 'an event');
      assert.deepEqual(Buffer.from(socket.seen['open:bytes'][0]), data);
      const nested = await socket
        .timeout(PATIENCE)
        .emitWithAck('publish', { room: 'open:bytes', topic: 't', data: { data } });
      assert.deepEqual([nested.type, nested.code], ['error', 'bad_request']);
      socket.close();
    });

    test('an event that is larger than a send queue arrives', async () => {
      const small = await Pod.start({ config: `${config}\n[limits]\nsend_queue = "64KiB"\n` });
      try {
        const socket = await client(`http://127.0.0.1:${small.plainPort}`, { transports });
        await join(socket, 'open:large');
        for (const n of numbers(0, 3)) {
          await small.publish('open:large', { n, fill: 'x'.repeat(200_000) });
          await until(() => socket.seen['open:large']?.length === n + 1, `event ${n}`);
        }
        assert.deepEqual(socket.seen['open:large'], [0, 1, 2]);
        socket.close();
      } finally {
        await small.stop();
      }
    });

    test('a session comes back with what it missed, in several rooms', async () => {
      const socket = await client(url, { transports });
      await join(socket, 'plain:r1', 'plain:r2', 'batch:r3');
      for (const n of numbers(0, 3))
        for (const room of ['plain:r1', 'plain:r2', 'batch:r3']) await pod.publish(room, { n });
      await until(
        () => ['plain:r1', 'plain:r2', 'batch:r3'].every((room) => socket.seen[room]?.length === 3),
        () => `all: ${JSON.stringify(socket.seen)}`,
      );
      await until(() => socket.io.engine.transport.name === transports.at(-1), 'an upgrade');
      const id = socket.id;
      await drop(socket);
      for (const n of numbers(3, 6))
        for (const room of ['plain:r1', 'plain:r2', 'batch:r3']) await pod.publish(room, { n });
      await back(socket);
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      await pod.publish('plain:r1', { n: 6 });
      await until(() => socket.seen['plain:r1'].includes(6) && socket.seen['batch:r3'].includes(5), 'the next event');
      for (const room of ['plain:r1', 'plain:r2', 'batch:r3']) {
        assert.deepEqual(
          [...new Set(socket.seen[room])].filter((n) => n < 6),
          numbers(0, 6),
          room,
        );
      }
      assert.deepEqual(socket.seen['plain:r1'], numbers(0, 7), 'the room of the last event has no duplicate');
      socket.close();
    });

    test('an unknown session begins anew, and one that lost events too', async () => {
      const socket = await client(url, { transports });
      await join(socket, 'short:r');
      await pod.publish('short:r', { n: 0 });
      await until(() => socket.seen['short:r']?.length === 1, 'an event');
      const id = socket.id;
      await drop(socket);
      for (const n of numbers(1, 20)) await pod.publish('short:r', { n });
      await back(socket);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
      await join(socket, 'short:r');
      await drop(socket);
      socket._pid = 'aaaaaaaaaaaaaaaaaaaa';
      await back(socket);
      assert.equal(socket.recovered, false);
      socket.close();
    });
  });
}

describe('tokens', () => {
  let pod, url;
  before(async () => {
    pod = await Pod.start({
      config: `anonymous = false\n${config}\n[tokens]\nhmac_secrets = ["a-secret-of-tests-that-is-long-enough"]\n`,
    });
    url = `http://127.0.0.1:${pod.plainPort}`;
  });
  after(() => pod?.stop());

  test('auth.token lets in, none and a bad one are refused', async () => {
    const { createHmac } = await import('node:crypto');
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = `${part({ alg: 'HS256' })}.${part({ sub: 'ann', exp: Math.floor(Date.now() / 1_000) + 600 })}`;
    const token = `${body}.${createHmac('sha256', 'a-secret-of-tests-that-is-long-enough').update(body).digest('base64url')}`;
    const socket = await client(url, { auth: { token } });
    await join(socket, 'plain:t');
    socket.close();
    for (const auth of [{}, { token: `${token}x` }]) {
      const refused = io(url, { forceNew: true, auth });
      const [error] = await once(refused, 'connect_error');
      assert.equal(error.data.code, 'unauthorized', error.message);
      refused.close();
    }
  });
});

describe('two pods behind a balancer without sticky sessions', () => {
  let redis, pods, balancer;
  const start = () => Pod.start({ config, args: ['--redis', redis.url, '--advertise', '127.0.0.1'] });
  before(async () => {
    redis = await Redis.start();
    pods = await Promise.all([start(), start()]);
    balancer = await balance(pods.map((pod) => pod.plainPort));
  });
  after(async () => {
    await balancer?.stop();
    await Promise.all(pods?.map((pod) => pod.stop()) ?? []);
    await redis?.stop();
  });

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`${transports.join(' then ')}: every request may land anywhere`, async () => {
      const sockets = await Promise.all(numbers(0, 6).map(() => client(balancer.url, { transports })));
      const room = `plain:${transports.join('-')}`;
      for (const socket of sockets) await join(socket, room);
      for (const n of numbers(0, 30)) await pods[n % 2].publish(room, { n });
      await until(
        () => sockets.every((socket) => socket.seen[room]?.length >= 30),
        () => `all: ${sockets.map((s) => s.seen[room]?.length)}`,
      );
      for (const socket of sockets) {
        assert.deepEqual(socket.seen[room], numbers(0, 30));
        assert.equal(socket.io.engine.transport.name, transports.at(-1));
        socket.close();
      }
    });
  }

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`${transports.join(' then ')}: a session survives kill -9 of its pod, in several rooms`, () =>
      survives(transports, { start, pods, balancer }));
  }

  test('a pod is killed right after a join was answered: the session is in that room, or is another one', async () => {
    const outcomes = [];
    for (let round = 0; round < 6; round++) {
      const victim = await start();
      const alone = await balance([victim.plainPort]);
      const socket = await client(alone.url, { transports: ['websocket'] });
      const [first, second] = [`plain:race-${round}-a`, `plain:race-${round}-b`];
      await join(socket, first);
      await pods[0].publish(first, { n: 0 });
      await until(() => socket.seen[first]?.length === 1, 'the first event');
      // Half of them have an event of the new room as their last one.
      await join(socket, second);
      if (round % 2) {
        victim.publish(second, { n: 0 }).catch(() => {});
        await Promise.race([once(socket, 'events'), sleep(500)]);
      }
      victim.process.kill('SIGKILL');
      const gone = once(socket, 'disconnect');
      socket.io.reconnection(false);
      await victim.exit;
      for (const pod of pods) alone.add(pod.plainPort);
      alone.remove(victim.plainPort);
      await gone;
      await back(socket);
      outcomes.push(socket.recovered);
      for (const room of [first, second]) await pods[1].publish(room, { n: 1 });
      if (socket.recovered) {
        await until(
          () => [first, second].every((room) => socket.seen[room]?.includes(1)),
          () => JSON.stringify([round, socket.seen]),
        );
      }
      socket.close();
      await alone.stop();
    }
    console.log(`recovered after ${outcomes.filter(Boolean).length} of ${outcomes.length} kills`);
  });

  test('joins are carried out in order with all that a client says, also while they are written down', async () => {
    const socket = await client(balancer.url, { transports: ['websocket'] });
    await join(socket, 'plain:order-0');
    const rooms = Array.from({ length: 20 }, (_, n) => `open:order-${n}`);
    const answers = rooms.flatMap((room, n) => [
      socket.timeout(PATIENCE).emitWithAck('subscribe', { room }),
      socket.timeout(PATIENCE).emitWithAck('publish', { room, topic: 't', data: { n } }),
    ]);
    const types = (await Promise.all(answers)).map(({ type }) => type);
    assert.deepEqual(
      types,
      rooms.flatMap(() => ['subscribed', 'published']),
    );
    for (const room of rooms) {
      const { type } = await socket.timeout(PATIENCE).emitWithAck('unsubscribe', { room });
      assert.equal(type, 'unsubscribed');
    }
    const errors = await Promise.all(
      ['closed:x', 'plain:order-0', 'bad room'].map((room) =>
        socket.timeout(PATIENCE).emitWithAck('subscribe', { room }),
      ),
    );
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['forbidden', 'already_subscribed', 'bad_room'],
    );
    const reply = await socket.timeout(PATIENCE).emitWithAck('publish', { room: 'open:order-0', topic: 't', data: 1 });
    assert.equal(reply.type, 'published', 'it is heard again');
    socket.close();
  });
});

describe('two pods over a Redis Cluster', () => {
  let redis, pods, balancer;
  const start = () => Pod.start({ config, args: ['--redis', redis.url, '--advertise', '127.0.0.1'] });
  before(async () => {
    redis = await RedisCluster.start();
    pods = await Promise.all([start(), start()]);
    balancer = await balance(pods.map((pod) => pod.plainPort));
  });
  after(async () => {
    await balancer?.stop();
    await Promise.all(pods?.map((pod) => pod.stop()) ?? []);
    await redis?.stop();
  });

  for (const transports of [['websocket'], ['polling', 'websocket']]) {
    test(`${transports.join(' then ')}: a session survives kill -9 of its pod, in several rooms`, () =>
      survives(transports, { start, pods, balancer }));
  }
});
