#!/usr/bin/env node
// Publish to receive on one pod of the preset `social` with 1,000 connections, archive on: members of conversations of ten say something over their
// WebSockets, and all ten get it.
//
//   TEST_POD=target/release/roomcast node bench/people/latency.js [--connections 1000] [--rate 100] [--seconds 30] [--no-archive]
//
// Needs redis-server, redis-cli, PostgreSQL 15 or newer and tests/js/node_modules. All of it shares the machine.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { binary, Pod } from '../../tests/js/support/pod.js';
import { Postgres } from '../../tests/js/support/postgres.js';
import { run } from '../../tests/js/support/process.js';
import { Redis } from '../../tests/js/support/redis.js';
import { SECRET, token } from '../../tests/js/support/tokens.js';
import { cpu, format, percentile } from './measure.js';
import { Socket } from './socket.js';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '30' },
    'no-archive': { type: 'boolean', default: false },
  },
});
const [CONNECTIONS, RATE, SECONDS] = [values.connections, values.rate, values.seconds].map(Number);
const GROUP = 10;

const [redis, postgres] = await Promise.all([Redis.start(), Postgres.start('fsync=on', 'synchronous_commit=on')]);
const url = await postgres.database('bench');
const env = { JWT_SECRET: SECRET, REDIS_URL: redis.url, ...(values['no-archive'] ? {} : { ARCHIVE_URL: url }) };
const made = await run(binary, ['archive', 'migrate', 'up', '--preset', 'social'], {
  env: { PATH: process.env.PATH, ...env, ARCHIVE_URL: url },
});
if (made.code !== 0) throw new Error(made.stderr);
const pod = await Pod.start({ dev: false, tls: false, env, args: ['--preset', 'social', '--workers', '2'] });

const sent = new Map();
const [received, answered] = [[], []];
let [joined, errors] = [0, 0];

function take(text) {
  const now = performance.now();
  const id = /"id":"(m-\d+)"/.exec(text)?.[1];
  if (text.includes('"event":"subscribed"') && text.includes('"channel":"message:')) joined++;
  else if (text.includes('"type":"error"')) errors++;
  else if (id && sent.has(id)) (text.includes('"type":"ack"') ? answered : received).push(now - sent.get(id));
}

try {
  const sockets = [];
  for (let n = 0; n < CONNECTIONS; n++) {
    const channel = `message:${Math.floor(n / GROUP)}`;
    const signed = token(`u${n}`, { rooms: [{ room: channel, rights: ['join', 'publish'] }] });
    const socket = await Socket.open(pod.plainPort, { token: signed, take });
    socket.send({ type: 'subscribe', channel });
    sockets.push(socket);
  }
  while (joined < CONNECTIONS) await sleep(50);
  const measure = async (seconds) => {
    const began = performance.now();
    let said = 0;
    while (performance.now() - began < seconds * 1_000) {
      const due = ((performance.now() - began) / 1_000) * RATE;
      for (; said < due; said++) {
        const n = Math.floor(Math.random() * CONNECTIONS);
        const id = `m-${sent.size}`;
        sent.set(id, performance.now());
        const data = { conversation_id: String(Math.floor(n / GROUP)), content: 'what somebody has to say'.repeat(6) };
        sockets[n].send({ type: 'message', event: 'new_message', id, data });
      }
      await sleep(2);
    }
    await sleep(1_000);
  };
  await measure(5);
  const warm = sent.size;
  received.length = answered.length = 0;
  const before = cpu(pod.process.pid);
  await measure(SECONDS);
  const count = sent.size - warm;
  const line = (list) => [0.5, 0.95, 0.99].map((share) => format(percentile(list, share))).join(', ');
  console.log(
    `${CONNECTIONS} connections, ${values['no-archive'] ? 'no archive' : 'archive on'}, ${count} messages (${RATE} a second), ${received.length} of ${count * GROUP} received, ${answered.length} answered, ${errors} errors`,
  );
  console.log(`publish to receive, ms, median, p95, p99: ${line(received)}; longest ${format(Math.max(...received))}`);
  console.log(`publish to answer, ms, median, p95, p99: ${line(answered)}`);
  console.log(`the pod's CPU: ${format(((cpu(pod.process.pid) - before) / (SECONDS + 1)) * 100)} % of a core`);
  for (const socket of sockets) socket.close();
} finally {
  await pod.end(10_000);
  await postgres.stop();
  await redis.stop();
}
