#!/usr/bin/env node
// What the archive costs a publish: two pods that differ in `archive = "postgres"` alone, over one Redis and a PostgreSQL that flushes to the
// disk, called in turns.
//
//   TEST_POD=target/release/roomcast node bench/people/archive.js [--seconds 4] [--turns 7] [--callers 1,32]
//
// Needs redis-server, redis-cli, PostgreSQL 15 or newer and tests/js/node_modules.

import { Agent, request } from 'node:http';
import { parseArgs } from 'node:util';

import { binary, Pod } from '../../tests/js/support/pod.js';
import { Postgres } from '../../tests/js/support/postgres.js';
import { run } from '../../tests/js/support/process.js';
import { Redis } from '../../tests/js/support/redis.js';
import { cpu, format, median, percentile } from './measure.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    turns: { type: 'string', default: '7' },
    callers: { type: 'string', default: '1,32' },
  },
});
const SECONDS = Number(values.seconds);
const TEXT = 'x'.repeat(200);

const [redis, postgres] = await Promise.all([Redis.start(), Postgres.start('fsync=on', 'synchronous_commit=on')]);
const policy = (archive) => `[[policy]]\nmatch = ["chat:*"]\narchive = "${archive}"\n`;
const url = await postgres.database('bench');
const made = await run(binary, ['archive', 'migrate', 'up'], {
  env: { PATH: process.env.PATH, ROOMCAST_ARCHIVE_URL: url },
});
if (made.code !== 0) throw new Error(made.stderr);
const start = (name, config, env) =>
  Pod.start({ config, env, args: ['--redis', redis.url, '--redis-prefix', name, '--workers', '2'] });
const pods = {
  without: await start('without', policy('off'), {}),
  with: await start('with', policy('postgres'), { ROOMCAST_ARCHIVE_URL: url }),
};

/** Publishes again and again until the time is over; the times of the answers. */
async function caller(pod, agent, room, until, times) {
  const { hostname, port } = new URL(pod.internal);
  const headers = { authorization: `Bearer ${Pod.key}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ room, topic: 'said', data: { text: TEXT } });
  while (performance.now() < until) {
    const began = performance.now();
    await new Promise((done, failed) => {
      const call = request({ hostname, port, path: '/api/publish', method: 'POST', headers, agent }, (answer) => {
        answer.resume();
        answer.once('end', () =>
          answer.statusCode === 200 ? done() : failed(new Error(`answered ${answer.statusCode}`)),
        );
      });
      call.once('error', failed);
      call.end(body);
    });
    times.push(performance.now() - began);
  }
}

/** One turn of a pod: its CPU and Redis' a publish in us, the times of the answers. */
async function turn(pod, callers) {
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  const times = [];
  const before = cpu(pod.process.pid);
  const until = performance.now() + SECONDS * 1_000;
  await Promise.all(Array.from({ length: callers }, (_, n) => caller(pod, agent, `chat:${n}`, until, times)));
  const used = cpu(pod.process.pid) - before;
  agent.destroy();
  return {
    us: (used / times.length) * 1e6,
    rate: times.length / SECONDS,
    p50: median(times),
    p95: percentile(times, 0.95),
  };
}

try {
  console.log((await postgres.sql('bench', 'SELECT version()')).split(',')[0]);
  for (const callers of values.callers.split(',').map(Number)) {
    const turns = { without: [], with: [] };
    for (const pod of Object.values(pods)) await turn(pod, callers);
    for (let n = 0; n < Number(values.turns); n++) {
      for (const name of n % 2 ? ['with', 'without'] : ['without', 'with'])
        turns[name].push(await turn(pods[name], callers));
    }
    console.log(`${callers} callers, ${values.turns} turns of ${SECONDS} s each:`);
    for (const [what, unit] of [
      ['us', 'us of CPU a publish'],
      ['p50', 'ms, median answer'],
      ['p95', 'ms, p95 answer'],
      ['rate', 'a second'],
    ]) {
      const of = (name) => turns[name].map((one) => one[what]);
      const ratios = of('with').map((value, n) => value / of('without')[n]);
      const span = (list, digits) =>
        `${format(median(list), digits)} (${format(Math.min(...list), digits)} to ${format(Math.max(...list), digits)})`;
      console.log(
        `  ${unit}: without ${span(of('without'), 2)}, with ${span(of('with'), 2)}, ratio ${span(ratios, 2)}`,
      );
    }
  }
  const [rows, pending] = [
    await postgres.sql('bench', 'SELECT count(*) FROM roomcast_messages'),
    await postgres.sql('bench', 'SELECT count(*) FROM roomcast_pending'),
  ];
  console.log(`${rows} rows in the archive, ${pending} pending`);
} finally {
  await Promise.all(Object.values(pods).map((pod) => pod.end(10_000)));
  await postgres.stop();
  await redis.stop();
}
