// What a fleet that does nothing asks of Redis, and what its rooms and members hold there: three pods, 10,000 rooms, 10,000 members.
//
//   TEST_POD=target/release/roomcast node bench/fleet_idle.js [seconds]
//
// Counts are Redis' own (INFO); the pods may be of any build. Needs redis-server, redis-cli and tests/js/node_modules.

import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../tests/js/support/client.js';
import { Pod } from '../tests/js/support/pod.js';
import { Redis } from '../tests/js/support/redis.js';

const SECONDS = Number(process.argv[2] ?? 60);
const ROOMS = 10_000;
const ROOMS_EACH = 100;
const MEMBERS = 10_000;
const CONFIG = '[[policy]]\nmatch = ["crowd"]\npresence = "list"\n';

const redis = await Redis.start();
const fleet = await Promise.all([0, 1, 2].map(() => Pod.start({ config: CONFIG, args: ['--redis', redis.url] })));
const pod = (n) => fleet[n % fleet.length];
const clients = [];
const rooms = (kind) => Array.from({ length: ROOMS }, (_, n) => `${kind}:${n}`);
const format = (number) => number.toLocaleString('en', { maximumFractionDigits: 2 });

/** Fields of INFO, as numbers where they are some. */
async function info(section) {
  const lines = (await redis.cli('INFO', section)).split('\n').map((line) => line.trim().split(':'));
  return Object.fromEntries(lines.filter(([, value]) => value !== undefined));
}

const memory = async () => Number((await info('memory')).used_memory);

/** Watches for a while: which commands were run, and what they cost. */
async function watch(what) {
  const look = async () => {
    const cpu = await info('cpu');
    const calls = Object.entries(await info('commandstats')).map(([name, stats]) => [
      name.replace('cmdstat_', ''),
      Number(/calls=(\d+)/.exec(stats)[1]),
    ]);
    return { cpu: Number(cpu.used_cpu_user) + Number(cpu.used_cpu_sys), calls: new Map(calls) };
  };
  const before = await look();
  await sleep(SECONDS * 1_000);
  const after = await look();
  const calls = [...after.calls]
    .map(([name, count]) => [name, (count - (before.calls.get(name) ?? 0)) / SECONDS])
    .filter(([name, rate]) => rate > 0 && !/^(info|config)/.test(name))
    .sort(([, a], [, b]) => b - a);
  const isScript = ([name]) =>
    /^(evalsha|eval|ping|ssubscribe|subscribe|cluster|spublish|publish|hello|client)/.test(name);
  const sum = (some) => some.reduce((total, [, rate]) => total + rate, 0);
  console.log(
    `${what}: ${format(sum(calls.filter(isScript)))} calls a second (${format(sum(calls))} commands with those that scripts run), ` +
      `${format(((after.cpu - before.cpu) / SECONDS) * 100)} % of a core`,
  );
  console.log(
    `  ${calls
      .slice(0, 8)
      .map(([name, rate]) => `${name} ${format(rate)}`)
      .join(', ')}`,
  );
}

/** What each of so many costs in Redis' memory. */
async function held(what, count, work) {
  const before = await memory();
  await work();
  console.log(`${what}: ${format(((await memory()) - before) / count)} bytes each in Redis`);
}

async function join(client, names) {
  for (const room of names) client.send({ type: 'subscribe', room });
  for (const room of names) await client.next('subscribed', (message) => message.room === room, 30_000);
}

async function joinAll(names) {
  for (let from = 0; from < names.length; from += ROOMS_EACH) {
    const client = await Client.open(pod(clients.length).plainUrl);
    clients.push(client);
    await join(client, names.slice(from, from + ROOMS_EACH));
  }
}

/** An event of 256 bytes to each room. */
async function publishAll(names) {
  for (let from = 0; from < names.length; from += 100) {
    const events = names.slice(from, from + 100).map((room) => ({ room, topic: 't', data: 'x'.repeat(200) }));
    const answer = await fetch(`${pod(from).internal}/api/broadcast`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${Pod.key}` },
      body: JSON.stringify({ publications: events }),
    });
    if (answer.status !== 200) throw new Error(`broadcast answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
  }
}

try {
  console.log((await redis.cli('INFO', 'server')).split('\n')[1].trim());
  await watch('three pods without rooms');
  await held('a room with members and no event', ROOMS, () => joinAll(rooms('quiet')));
  await watch(`${format(ROOMS)} rooms`);
  await held('its log with one event of 256 bytes, beside', ROOMS, () => publishAll(rooms('quiet')));
  await redis.cli('CONFIG', 'SET', 'stream-node-max-bytes', '1024');
  await held('a room without members, one event, stream-node-max-bytes 1024', ROOMS, () => publishAll(rooms('small')));
  await watch(`${format(ROOMS)} rooms with members and a log`);
  const began = Date.now();
  await held(`a member of a room of ${format(MEMBERS)}, with presence`, MEMBERS, async () => {
    for (let from = 0; from < MEMBERS; from += 100) {
      const some = await Promise.all(Array.from({ length: 100 }, (_, n) => Client.open(pod(n).plainUrl)));
      clients.push(...some);
      await Promise.all(some.map((client) => join(client, ['crowd'])));
    }
  });
  console.log(`they joined in ${format((Date.now() - began) / 1_000)} s`);
  await watch(`${format(ROOMS)} rooms and ${format(MEMBERS)} members of another`);
  const asked = performance.now();
  const { text } = await pod(0).curl('/api/rooms/crowd/presence', '-H', `Authorization: Bearer ${Pod.key}`);
  console.log(`the list of them: ${format(text.length)} bytes in ${format(performance.now() - asked)} ms`);
} finally {
  for (const client of clients) client.ws.terminate();
  await Promise.all(fleet.map((pod) => pod.end(10_000)));
  await redis.stop();
}
