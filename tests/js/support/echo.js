// The two servers that the Socket.IO tests compare: ours (`examples/socketio_echo.rs`) and npm's, doing the same.

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { Server } from 'socket.io';

const binary = process.env.TEST_ECHO ?? join(dirname(process.env.TEST_POD ?? ''), 'examples/socketio_echo');

/** Ours. `timing` is `{pingInterval, pingTimeout}`. */
export async function ours({
  engineOnly = false,
  recovery = true,
  pingInterval,
  pingTimeout,
  connectTimeout,
  maxPayload,
} = {}) {
  const args = ['--plain-listen', '127.0.0.1:0'];
  if (engineOnly) args.push('--engine-only');
  if (!recovery) args.push('--no-recovery');
  if (pingInterval) args.push('--ping-interval', pingInterval);
  if (pingTimeout) args.push('--ping-timeout', pingTimeout);
  if (connectTimeout) args.push('--connect-timeout', connectTimeout);
  if (maxPayload) args.push('--max-payload', maxPayload);
  const child = spawn(binary, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((end) => child.once('exit', end));
  const address = await new Promise((found, failed) => {
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const match = /listening on (\S+)/.exec((said += text));
      if (match) found(match[1]);
    });
    child.once('error', failed);
    child.once('exit', (code) => failed(new Error(`${binary} ended with ${code}`)));
  });
  return {
    url: `http://${address}`,
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** npm's. */
export async function theirs({
  engineOnly = false,
  recovery = true,
  pingInterval,
  pingTimeout,
  connectTimeout,
  maxPayload,
} = {}) {
  const http = createServer();
  const options = {
    pingInterval: pingInterval ?? 25_000,
    pingTimeout: pingTimeout ?? 20_000,
    maxHttpBufferSize: maxPayload ?? 1_000_000,
  };
  let io;
  if (engineOnly) {
    const require = createRequire(createRequire(import.meta.url).resolve('socket.io'));
    io = require('engine.io').attach(http, { path: '/engine.io/', ...options });
    io.on('connection', (socket) => socket.on('message', (message) => socket.send(message)));
  } else {
    const recover = recovery ? { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } } : {};
    io = new Server(http, {
      ...options,
      connectTimeout: connectTimeout ?? 45_000,
      cors: { origin: 'http://localhost:1', credentials: true },
      ...recover,
    });
    io.on('connection', (socket) => {
      socket.emit('auth', socket.handshake.auth);
      socket.on('message', (...args) => socket.emit('message-back', ...args));
      socket.on('message-with-ack', (...args) => args.pop()(...args));
    });
    io.of('/custom').on('connection', (socket) => socket.emit('auth', socket.handshake.auth));
  }
  await new Promise((listening) => http.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${http.address().port}`,
    async stop() {
      io.close();
      http.closeAllConnections();
      await new Promise((closed) => http.close(closed));
    },
  };
}
