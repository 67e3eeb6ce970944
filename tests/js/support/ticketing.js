// The ticket shop of its document: pods with its environment, `wscat` (which is `ws` and a keyboard), `grpcurl` as printed there.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import WebSocket from 'ws';

import { Pod } from './pod.js';

const secret = 'a-secret-of-thirty-two-bytes-or-more';

async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** A pod with `--preset ticketing`. `env` and `args` say where Redis is; without `keyless` it has the key of `Pod`. */
export async function startShop({ ports, grpc, keyless = true, env = {}, args = [] } = {}) {
  const port = grpc ?? (await freePort());
  const pod = await Pod.start({
    dev: false,
    tls: false,
    ports,
    keyless,
    env: { JWT_SECRET: secret, ...env },
    args: [
      '--preset',
      'ticketing',
      '--grpc-listen',
      `127.0.0.1:${port}`,
      '--drain-delay',
      '0ms',
      '--drain-window',
      '0ms',
      ...args,
    ],
  });
  return Object.assign(pod, { grpc: port, keyless, public: `http://127.0.0.1:${pod.plainPort}` });
}

/** A token as the shop's login service signs it (RFC 7515, HS256). */
export function token(claims, key = secret) {
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/** The client of the document: connects with its token, joins an event's room. */
export async function client(pod, user, room) {
  const ws = new WebSocket(user ? `${pod.plainUrl}?token=${token({ user_id: user })}` : pod.plainUrl);
  const messages = [];
  let wake = () => {};
  ws.on('message', (message) => (messages.push(JSON.parse(message)), wake()));
  const closed = new Promise((closed) => ws.once('close', (code) => closed(code)));
  await new Promise((open, failed) => ws.once('open', open).once('error', failed));
  const send = (type, payload) => ws.send(JSON.stringify(payload === undefined ? { type } : { type, payload }));
  const within = async (ms) => {
    for (const deadline = Date.now() + ms; ; ) {
      if (messages.length) return messages.shift();
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await Promise.race([new Promise((woken) => (wake = woken)), sleep(left)]);
    }
  };
  const next = async () => {
    const message = await within(5_000);
    assert.ok(message, 'no message within 5 s');
    return message;
  };
  const connected = await next();
  assert.equal(connected.type, 'system:connected');
  if (room) {
    send('room:join', { room });
    await sleep(200);
  }
  return { ws, send, next, within, closed, connected };
}

const grpcurlTool = process.env.GRPCURL ?? `${process.env.HOME}/.cache/roomcast/bin/grpcurl`;

/** `grpcurl` as the document prints its calls, but for the port, and a key where the pod has one. */
export async function grpcurl(pod, method, data) {
  const key = pod.keyless ? [] : ['-H', `authorization: Bearer ${Pod.key}`];
  const args = ['-plaintext', ...key, ...(data ? ['-d', JSON.stringify(data)] : []), `localhost:${pod.grpc}`];
  const { stdout } = await promisify(execFile)(grpcurlTool, [...args, `realtime.RealtimeService/${method}`]);
  return JSON.parse(stdout);
}

/** Why a test that needs it is skipped. */
export const withoutGrpcurl = existsSync(grpcurlTool)
  ? false
  : 'SKIPPED: there is no grpcurl; tests/run installs it where Go is';
