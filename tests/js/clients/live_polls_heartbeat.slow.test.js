// The heartbeats of `--preset live-polls`, which no setting makes shorter: two of them take a minute.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { Redis } from '../support/redis.js';
import { io } from '../support/socketio.js';

let redis, pod;

before(async () => {
  redis = await Redis.start();
  pod = await Pod.start({ dev: false, tls: false, env: { REDIS_URL: redis.url }, args: ['--preset', 'live-polls'] });
});

after(async () => {
  await pod?.stop();
  await redis?.stop();
});

test('heartbeat:ping comes every 30 s, whether it is answered or not', { timeout: 120_000 }, async () => {
  const began = Date.now();
  const clients = [['websocket'], ['polling'], ['polling', 'websocket']].map((transports) => {
    const socket = io(`http://127.0.0.1:${pod.plainPort}`, {
      query: { sessionId: 'beat' },
      transports,
      forceNew: true,
    });
    const seen = { socket, beats: [], disconnects: 0 };
    socket.on('heartbeat:ping', () => seen.beats.push(Date.now() - began));
    socket.on('disconnect', () => seen.disconnects++);
    return seen;
  });
  clients[0].socket.on('heartbeat:ping', () => clients[0].socket.emit('heartbeat:pong'));
  const beats = () => clients.map((client) => client.beats.join()).join(' ');
  await until(() => clients.every((client) => client.beats.length >= 2), 90_000, beats);
  for (const { socket, beats, disconnects } of clients) {
    assert.ok(beats[1] - beats[0] > 25_000 && beats[0] > 25_000, `not before their time: ${beats}`);
    assert.deepEqual([beats.length, socket.connected, disconnects], [2, true, 0]);
    socket.close();
  }
});
