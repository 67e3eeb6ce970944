// A real Redis on a free loopback port, with nothing on disk.

import { spawn } from 'node:child_process';
import { createConnection, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export async function startRedis() {
  const probe = createServer();
  await new Promise((listening) => probe.listen(0, '127.0.0.1', listening));
  const { port } = probe.address();
  await new Promise((closed) => probe.close(closed));
  const child = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
  const failed = new Promise((_, fail) => child.once('error', () => fail(new Error('redis-server cannot be started'))));
  const ready = (async () => {
    for (;;) {
      const answers = await new Promise((answer) => {
        const socket = createConnection(port, '127.0.0.1', () => socket.write('PING\r\n'));
        socket.once('data', () => answer(true)).once('error', () => answer(false));
        socket.once('data', () => socket.destroy());
      });
      if (answers) return;
      await sleep(50);
    }
  })();
  await Promise.race([ready, failed]);
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      const ended = new Promise((end) => child.once('exit', end));
      child.kill('SIGKILL');
      await ended;
    },
  };
}
