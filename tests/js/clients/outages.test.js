// A backend, or the server of a key set, that gives no answer for a while: Socket.IO clients that come in between are not sent away
// for good. No `CONNECT_ERROR`, after which a client gives up: their transport ends, and they come back by themselves.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { io } from 'socket.io-client';

import { Pod } from '../support/pod.js';

const PATIENCE = 30_000;
const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];

const until = async (holds, what) => {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(20)) if (await holds()) return;
  throw new Error(`${what()}, after ${PATIENCE} ms`);
};

/** A server that answers 500 until it is told to work: then `answer(path, body)`, as JSON. */
async function flaky(answer) {
  const flaky = { works: false, asked: 0 };
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    flaky.asked++;
    response.setHeader('Content-Type', 'application/json');
    if (flaky.works) response.end(JSON.stringify(answer(request.url, text)));
    else response.writeHead(500).end('{}');
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return Object.assign(flaky, {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => (server.closeAllConnections(), new Promise((closed) => server.close(closed))),
  });
}

/** A client that notes what becomes of it. */
function client(pod, options) {
  const url = `http://127.0.0.1:${pod.plainPort}`;
  const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });
  Object.assign(socket, { life: [], attempts: 0 });
  socket.io.on('reconnect_attempt', () => socket.attempts++);
  socket.on('connect', () => socket.life.push('connect'));
  socket.on('disconnect', (reason) => socket.life.push(`disconnect: ${reason}`));
  // An error of the transport leaves the socket active. One of the server's saying does not.
  socket.on('connect_error', (error) => socket.active || socket.life.push(`sent away: ${error.message}`));
  return socket;
}

const config = (rest) => `[socketio]\nenabled = true\n${rest}`;

test('hooks.connect', async () => {
  const backend = await flaky(() => ({ allow: true, user: 'ann' }));
  const pod = await Pod.start({ config: config(`[hooks]\nconnect = "${backend.url}/connect"\n`) });
  try {
    for (const transports of TRANSPORTS) {
      backend.works = false;
      const before = backend.asked;
      const socket = client(pod, { transports });
      // It was told something, and has come again.
      await until(
        () => backend.asked >= before + 2,
        () => `${transports}: ${socket.life}`,
      );
      backend.works = true;
      await until(
        () => socket.connected,
        () => `${transports}: ${socket.life}`,
      );
      assert.deepEqual(
        socket.life.filter((event) => event.startsWith('sent away')),
        [],
      );
      socket.close();
    }
  } finally {
    await pod.stop();
    await backend.stop();
  }
});

test('hooks.subscribe, for the room that a client begins with', async () => {
  const backend = await flaky(() => ({ allow: true }));
  const pod = await Pod.start({
    config: config(`
[hooks]
subscribe = "${backend.url}/subscribe"
[[policy]]
match = ["game:*"]
subscribe_hook = true
[[dialect]]
name = "scores"
envelope = "socketio"
rooms = ["game:{query:game}"]
greet = "in_room"
[[dialect.message]]
on = "welcome"
write = '["hello", "{query:game}"]'
[[dialect.event]]
write = '["score", "{data}"]'
`),
  });
  try {
    for (const transports of TRANSPORTS) {
      backend.works = false;
      const before = backend.asked;
      const socket = client(pod, { transports, query: { game: transports.join('-') } });
      let greeted = false;
      socket.on('hello', () => (greeted = true));
      await until(
        () => backend.asked >= before + 2,
        () => `${transports}: ${socket.life}`,
      );
      assert.equal(greeted, false);
      backend.works = true;
      await until(
        () => greeted && socket.connected,
        () => `${transports}: ${socket.life}`,
      );
      assert.ok(!socket.life.includes('disconnect: io server disconnect'), `${socket.life}`);
      socket.close();
    }
  } finally {
    await pod.stop();
    await backend.stop();
  }
});

test('tokens.jwks_url', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const json = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${json({ alg: 'ES256', kid: 'a' })}.${json({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 3_600 })}`;
  const token = `${head}.${sign('sha256', head, { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  const keys = await flaky(() => ({
    keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'a', alg: 'ES256', use: 'sig' }],
  }));
  // Without its keys a pod is not ready.
  const pod = await Pod.start({ config: config(`[tokens]\njwks_url = "${keys.url}/keys"\n`), path: '/health' });
  try {
    const sockets = TRANSPORTS.map((transports) => client(pod, { transports, auth: { token } }));
    const lives = () => JSON.stringify(sockets.map(({ life, attempts }) => [attempts, life]));
    // Each was refused once at least.
    await until(() => sockets.every((socket) => socket.attempts > 0), lives);
    keys.works = true;
    await until(() => sockets.every((socket) => socket.connected), lives);
    assert.ok(!lives().includes('sent away'), lives());
    for (const socket of sockets) socket.close();
  } finally {
    await pod.stop();
    await keys.stop();
  }
});
