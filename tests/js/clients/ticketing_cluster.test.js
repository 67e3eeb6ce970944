// The ticket shop over a Redis Cluster: two pods as processes, callers over gRPC and over HTTP, clients that come back to the other
// pod after theirs was killed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { RedisCluster } from '../support/redis.js';
import { client, grpcurl, startShop, withoutGrpcurl } from '../support/ticketing.js';

let redis, a, b;
const start = (more) => startShop({ keyless: false, args: ['--redis', redis.url], ...more });
// As many as lie on all three masters.
const events = ['1', '2', '3', '4', '5', '6'].map((id) => `event:${id}`);

before(async () => {
  redis = await RedisCluster.start();
  [a, b] = await Promise.all([start(), start()]);
});

after(async () => {
  await Promise.all([a?.stop(), b?.stop()]);
  await redis?.stop();
});

/** A client in the rooms of all events; it waits until it has heard of each, published over `pod`. */
async function visitor(on, user, pod = on) {
  const who = await client(on, user);
  for (const room of events) who.send('room:join', { room });
  // Nothing says that a room was joined, as in the old server; commands are answered in order.
  who.send('system:ping');
  assert.equal((await who.next()).type, 'system:pong');
  const missing = new Set(events);
  for (const deadline = Date.now() + 10_000; missing.size > 0; ) {
    assert.ok(Date.now() < deadline, `not in ${[...missing]}`);
    for (const room of missing) await pod.publish(room, { room, probe: true }, { topic: 'ticket:availability' });
    for (let message; (message = await who.within(150)); ) missing.delete(message.payload.room);
  }
  return who;
}

/** What a client is told from here on, but for probes of clients that joined. */
async function* told(who, patience = 5_000) {
  for (let message; (message = await who.within(patience)); ) if (!message.payload?.probe) yield message;
}

async function nextOf(who) {
  for await (const message of told(who)) return message;
  assert.fail('no message within 5 s');
}

/** Publishes `count` events to each room, in turn over the pods, and expects them at every client, each room's in order. */
async function everybodyHears(clients, pods, count, name) {
  for (let n = 0; n < count; n++) {
    for (const [at, room] of events.entries()) {
      await pods[(n + at) % pods.length].publish(room, { room, name, n }, { topic: 'ticket:availability' });
    }
  }
  for (const who of clients) {
    const seen = new Map(events.map((room) => [room, 0]));
    for (let left = count * events.length; left > 0; left--) {
      const { type, payload } = await nextOf(who);
      assert.deepEqual(
        [type, payload.name, payload.n],
        ['ticket:availability', name, seen.get(payload.room)],
        JSON.stringify(payload),
      );
      seen.set(payload.room, payload.n + 1);
    }
  }
  for (const who of clients)
    for await (const message of told(who, 200)) assert.fail(`once more: ${JSON.stringify(message)}`);
}

test('the rooms lie on all masters, and events over HTTP reach the clients of both pods in order', async () => {
  const nodes = new Set();
  for (const room of events) {
    const slot = Number(await redis.nodes[0].cli('CLUSTER', 'KEYSLOT', room));
    nodes.add(Math.floor((slot * 3) / 16_384));
  }
  assert.equal(nodes.size, 3, 'the names are chosen so');
  const ann = await visitor(a, 'ann');
  const guest = await visitor(b, null);
  await everybodyHears([ann, guest], [a, b], 10, 'both');
  // Over HTTP to one user, on whichever pod.
  await b.publish('user:ann', { booking_id: 'b0' }, { topic: 'booking:confirmed' });
  assert.deepEqual(await nextOf(ann), { type: 'booking:confirmed', payload: { booking_id: 'b0' } });
  assert.equal(await guest.within(200), undefined);
  const error = await b.post(JSON.stringify({ room: 'event:1', topic: 't', data: 1 }), { key: null });
  assert.equal(error.status, 401, 'the API asks for the key');
  ann.ws.close();
  guest.ws.close();
});

test('callers over gRPC reach a user on the other pod, and count both pods', { skip: withoutGrpcurl }, async () => {
  const ann = await visitor(a, 'ann');
  const guest = await visitor(b, null);
  const booking = {
    user_id: 'ann',
    booking_id: 'b1',
    success: true,
    message: 'Booking confirmed',
    booking_reference: 'BK1',
  };
  assert.deepEqual(await grpcurl(b, 'NotifyBookingResult', booking), { delivered: true, activeConnections: 1 });
  const { type, payload } = await nextOf(ann);
  assert.deepEqual([type, payload.booking_reference], ['booking:confirmed', 'BK1']);
  for (const room of events) {
    const call = { event_type: 'ticket:availability', room, payload: JSON.stringify({ room, left: 5 }) };
    assert.deepEqual(await grpcurl(a, 'BroadcastEvent', call), { recipients: 2 }, room);
    for (const who of [ann, guest]) assert.deepEqual((await nextOf(who)).payload, { room, left: 5 });
  }
  ann.ws.close();
  guest.ws.close();
});

test('kill -9 of either pod: its clients come back to the other, miss nothing from then on, and are told once', async () => {
  const grpc = !withoutGrpcurl;
  for (const which of ['a', 'b']) {
    const [dying, other] = which === 'a' ? [a, b] : [b, a];
    const ann = await visitor(dying, 'ann');
    const guest = await visitor(other, null);
    dying.process.kill('SIGKILL');
    assert.equal(await ann.closed, 1006);
    // Who was on the other pod notices nothing.
    await everybodyHears([guest], [other], 5, `without ${which}`);
    const back = await visitor(other, 'ann');
    for await (const message of told(guest, 200)) assert.fail(JSON.stringify(message));
    await everybodyHears([back, guest], [other], 5, `${which} is gone`);
    await other.publish('user:ann', { which }, { topic: 'payment:success' });
    assert.deepEqual(await nextOf(back), { type: 'payment:success', payload: { which } });
    if (grpc) {
      const { totalConnections, connectionsPerRoom } = await grpcurl(other, 'GetConnectionStats', { room: 'event:1' });
      assert.deepEqual([totalConnections, connectionsPerRoom['event:1']], [2, 2]);
      // The dead pod's members are counted no more once its lease is over. Each call is an event.
      const call = { user_id: 'ann', event_type: 'booking:processing', payload: '{"booking_id":"b2"}' };
      let calls = 0;
      for (const deadline = Date.now() + 20_000; ; await sleep(250)) {
        calls += 1;
        const answer = await grpcurl(other, 'SendToUser', call);
        if (answer.connectionsNotified === 1) break;
        assert.ok(answer.delivered && Date.now() < deadline, JSON.stringify(answer));
      }
      for (let n = 0; n < calls; n++) {
        assert.deepEqual(await nextOf(back), { type: 'booking:processing', payload: { booking_id: 'b2' } });
      }
    }
    // Another pod takes its place, and its clients hear the same.
    const anew = await start({ ports: dying.ports, grpc: dying.grpc });
    if (which === 'a') a = anew;
    else b = anew;
    const late = await visitor(anew, 'bob', other);
    for (const who of [back, guest]) for await (const message of told(who, 200)) assert.fail(JSON.stringify(message));
    await everybodyHears([back, guest, late], [a, b], 5, `${which} is back`);
    for (const who of [back, guest, late]) who.ws.close();
  }
});
