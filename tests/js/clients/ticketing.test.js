// `--preset ticketing` with the clients of its document; a real Redis, two pods, and what happens when one of either goes away.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

import { curl } from '../support/pod.js';
import { Redis } from '../support/redis.js';
import { client, grpcurl, startShop, token, withoutGrpcurl } from '../support/ticketing.js';

let redis, a, b;

/** A pod with the environment of the old service: its own variables say where everything is. */
function start({ env = {}, ...more } = {}) {
  const [host, at] = redis.url.replace('redis://', '').split(':');
  return startShop({ env: { REDIS_HOST: host, REDIS_PORT: at, ...env }, ...more });
}

before(async () => {
  redis = await Redis.start();
  [a, b] = await Promise.all([start(), start()]);
});

after(async () => {
  await Promise.all([a?.stop(), b?.stop()]);
  await redis?.stop();
});

test('a token or none; pings, rooms and errors in the documented shapes', async () => {
  const user = await client(a, 'user-uuid');
  assert.deepEqual(Object.keys(user.connected), ['type', 'payload']);
  assert.deepEqual(Object.keys(user.connected.payload), ['connection_id', 'server_time']);
  user.ws.send('{"type":"system:ping"}');
  assert.equal((await user.next()).type, 'system:pong');
  // As the document types it into wscat.
  user.ws.send('{"type":"room:join","payload":{"room":"event:123"}}');
  user.send('room:join', { room: 'user:somebody-else' });
  const error = await user.next();
  assert.deepEqual([error.type, error.payload.code], ['system:error', 'forbidden']);
  const guest = await client(b, null, 'event:123');
  for (const pod of [a, b]) {
    const bad = new WebSocket(
      `${pod.plainUrl}?token=${token({ user_id: 'u' }, 'another-secret-of-thirty-two-bytes!')}`,
    );
    const status = await new Promise((refused) =>
      bad.once('unexpected-response', (_, answer) => refused(answer.statusCode)),
    );
    assert.equal(status, 401);
    bad.on('error', () => {});
  }
  for (const path of ['/health', '/ready', '/metrics'])
    assert.equal((await curl(`${a.public}${path}`)).status, 200, path);
  user.ws.close();
  guest.ws.close();
});

test('grpcurl, as printed, on one pod; the user and the room on both', { skip: withoutGrpcurl }, async () => {
  const user = await client(a, 'user-uuid', 'event:123');
  const guest = await client(b, null, 'event:123');
  await sleep(300);
  const answer = await grpcurl(b, 'NotifyBookingResult', {
    user_id: 'user-uuid',
    booking_id: 'booking-uuid',
    success: true,
    message: 'Booking confirmed',
    booking_reference: 'BK12345',
  });
  assert.deepEqual(answer, { delivered: true, activeConnections: 1 });
  assert.deepEqual(await user.next(), {
    type: 'booking:confirmed',
    payload: { booking_id: 'booking-uuid', booking_reference: 'BK12345', success: true, message: 'Booking confirmed' },
  });
  const stats = await grpcurl(a, 'GetConnectionStats');
  assert.deepEqual([stats.totalConnections, stats.authenticatedConnections, stats.anonymousConnections], [2, 1, 1]);
  // Whichever pod is asked, its figures are the fleet's: of rooms whose members are on the other pod, and of what was moved there.
  for (const pod of [a, b]) {
    const { connectionsPerRoom, messagesReceivedTotal } = await grpcurl(pod, 'GetConnectionStats');
    assert.equal(connectionsPerRoom['event:123'], 2, JSON.stringify(connectionsPerRoom));
    const own = (await curl(`${pod.public}/metrics`)).text.match(/^roomcast_messages_in_total (\d+)/m);
    assert.ok(Number(messagesReceivedTotal) > Number(own[1]), `${messagesReceivedTotal}, of which here ${own[1]}`);
  }
  const seats = JSON.stringify({ event_id: '123', available: 41 });
  const broadcast = await grpcurl(a, 'BroadcastEvent', {
    event_type: 'ticket:availability',
    room: 'event:123',
    payload: seats,
  });
  assert.deepEqual(broadcast, { recipients: 2 });
  const expected = { type: 'ticket:availability', payload: { event_id: '123', available: 41 } };
  assert.deepEqual(await user.next(), expected);
  assert.deepEqual(await guest.next(), expected);
  // What the user did is told to the others, on whatever pod they are.
  const others = {
    event_type: 'seat:taken',
    room: 'event:123',
    payload: '{"seat":"A1"}',
    exclude_sender: true,
    sender_user_id: 'user-uuid',
  };
  assert.deepEqual(await grpcurl(a, 'BroadcastEvent', others), { recipients: 1 });
  assert.deepEqual(await guest.next(), { type: 'seat:taken', payload: { seat: 'A1' } });
  for (const [method, data, type, payload] of [
    [
      'NotifyQueuePosition',
      { user_id: 'user-uuid', event_id: '123', position: 7, estimated_wait_seconds: 30, total_in_queue: 90 },
      'booking:queue_position',
      { position: 7, estimated_wait: 30, event_id: '123', total_in_queue: 90 },
    ],
    [
      'NotifyPaymentStatus',
      {
        user_id: 'user-uuid',
        booking_id: 'b',
        payment_id: 'p',
        status: 'PAYMENT_STATUS_SUCCESS',
        message: 'paid',
        amount: '100.00',
        currency: 'USD',
      },
      'payment:success',
      { payment_id: 'p', booking_id: 'b', status: 'success', message: 'paid', amount: '100.00', currency: 'USD' },
    ],
    [
      'SendToUser',
      { user_id: 'user-uuid', event_type: 'booking:processing', payload: '{"booking_id":"b"}' },
      'booking:processing',
      { booking_id: 'b' },
    ],
  ]) {
    assert.equal((await grpcurl(b, method, data)).delivered, true, method);
    assert.deepEqual(await user.next(), { type, payload });
  }
  assert.equal(await guest.within(200), undefined, 'what is for a user is for nobody else');
  const { text } = await curl(`${b.public}/metrics`);
  assert.match(text, /^realtime_notifications_delivered_total\{type="booking:confirmed"\} 1$/m);
  assert.match(text, /^realtime_grpc_requests_total\{method="NotifyQueuePosition"\} 1$/m);
  user.ws.close();
  guest.ws.close();
});

test('a pod that dies takes nobody along: its clients come back to the other, which tells them', {
  skip: withoutGrpcurl,
}, async () => {
  const before = await client(a, 'traveller', 'event:9');
  a.process.kill('SIGKILL');
  await before.closed;
  const again = await client(b, 'traveller', 'event:9');
  const call = { user_id: 'traveller', booking_id: 'b2', success: false, message: 'sold out' };
  await grpcurl(b, 'NotifyBookingResult', call);
  const { type, payload } = await again.next();
  assert.deepEqual([type, payload.success, payload.message], ['booking:failed', false, 'sold out']);
  // The dead pod's members are counted no more once its lease is over.
  for (const deadline = Date.now() + 20_000; ; await sleep(250)) {
    const { connectionsPerRoom } = await grpcurl(b, 'GetConnectionStats', { room: 'event:9' });
    if (connectionsPerRoom['event:9'] === 1) break;
    assert.ok(Date.now() < deadline, JSON.stringify(connectionsPerRoom));
  }
  a = await start({ ports: a.ports, grpc: a.grpc });
  const late = await client(a, null, 'event:9');
  await grpcurl(b, 'BroadcastEvent', { event_type: 'ticket:availability', room: 'event:9', payload: '{"left":1}' });
  for (const who of [again, late]) assert.deepEqual((await who.next()).payload, { left: 1 });
  again.ws.close();
  late.ws.close();
});

test('METRICS_ENABLED=false removes the metrics from both ports', async () => {
  const pod = await start({ env: { METRICS_ENABLED: 'false' } });
  for (const at of [pod.public, pod.internal]) assert.equal((await curl(`${at}/metrics`)).status, 404, at);
  assert.equal((await curl(`${pod.public}/health`)).status, 200);
  await pod.stop();
});

test('without Redis nobody new should come, who is here stays, and all is well again when Redis is back', async () => {
  const guest = await client(b, null, 'event:7');
  redis.process.kill('SIGSTOP');
  try {
    for (const deadline = Date.now() + 20_000; (await curl(`${b.public}/ready`)).status !== 503; await sleep(200)) {
      assert.ok(Date.now() < deadline, 'still ready');
    }
    assert.equal((await curl(`${b.public}/health`)).status, 200);
    guest.send('system:ping');
    assert.equal((await guest.next()).type, 'system:pong');
  } finally {
    redis.process.kill('SIGCONT');
  }
  for (const deadline = Date.now() + 20_000; (await curl(`${b.public}/ready`)).status !== 200; await sleep(200)) {
    assert.ok(Date.now() < deadline, 'not ready again');
  }
  guest.ws.close();
});
