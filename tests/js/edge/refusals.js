#!/usr/bin/env node
// What a refused attempt costs: TEST_POD=target/release/roomcast node edge/refusals.js [--receivers 5000] [--rate 6000] [--seconds 10]
//
// One address connects as fast as `rate` and sends a prepared ClientHello, while receivers on addresses of their own get events. The cost is
// the pod's CPU time beyond that of the same events without the attempts, over the refused ones; a bare listener that accepts and
// closes is measured beside it.

import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { HONEST } from './attacks.js';
import { attack, holdings } from './field.js';
import { percentile } from './honest.js';

const { values } = parseArgs({
  options: {
    receivers: { type: 'string', default: '5000' },
    rate: { type: 'string', default: '6000' },
    seconds: { type: 'string', default: '10' },
  },
});
const [receivers, rate, seconds] = [values.receivers, values.rate, values.seconds].map(Number);

/** The CPU time of a process in microseconds, all its threads. */
async function cpu(pid) {
  let nanoseconds = 0;
  for (const task of await readdir(`/proc/${pid}/task`)) {
    nanoseconds += Number((await readFile(`/proc/${pid}/task/${task}/schedstat`, 'utf8')).split(' ')[0]);
  }
  return nanoseconds / 1e3;
}

const pod = await Pod.start({ config: '[addresses]\nhandshakes_per_second = 50\n' });
// 127.0.0.1 is the attacker's; each receiver's address may open 50 a second.
const clients = [];
for (let n = 0; n < receivers; n += 50) {
  const localAddress = `127.1.${Math.floor(n / 50 / 250)}.${1 + (Math.floor(n / 50) % 250)}`;
  const opened = Array.from({ length: Math.min(50, receivers - n) }, () => Client.open(pod.plainUrl, { localAddress }));
  for (const client of await Promise.all(opened)) clients.push(client);
}
await Promise.all(clients.map((client) => client.subscribe(HONEST)));

/** Events for so many seconds, four a second; the pod's CPU and how long the slowest tenth of receivers waited. */
async function events() {
  const before = await cpu(pod.process.pid);
  const times = [];
  for (let n = 0; n < seconds * 4; n++) {
    const began = performance.now();
    await pod.publish(HONEST, n);
    await Promise.all(
      clients.filter((_, at) => at % 50 === 0).map((client) => client.next('events', () => true, 15_000)),
    );
    for (const client of clients) client.pending.length = 0;
    times.push(performance.now() - began);
    await sleep(Math.max(0, 250 - (performance.now() - began)));
  }
  return { cpu: (await cpu(pod.process.pid)) - before, p99: percentile(times, 0.99) };
}

const refused = async () => {
  const metrics = await (await fetch(`${pod.internal}/metrics`)).text();
  return Number(/^roomcast_limit_refused_total\{limit="addresses"\} (\d+)/m.exec(metrics)?.[1] ?? 0);
};
await events();
const alone = await events();
const refusedBefore = await refused();
const end = await attack('connects without end', pod, { rate });
const attacked = await events();
const did = await end();
const count = (await refused()) - refusedBefore;
const bare = await attack('connects without end', pod, { rate, bare: true });
await sleep(seconds * 1_000);
const listener = await bare();
console.log(`${receivers} receivers, ${(did.opened / seconds).toFixed(0)} attempts a second, ${count} refused`);
console.log(`CPU of the pod a refused attempt: ${((attacked.cpu - alone.cpu) / count).toFixed(1)} us`);
console.log(`p99 of events, ms: ${alone.p99.toFixed(1)} without, ${attacked.p99.toFixed(1)} with the attempts`);
console.log(`a bare listener takes ${(listener.opened / seconds).toFixed(0)} a second of the same`);
console.log(JSON.stringify(await holdings(pod)));
for (const client of clients) client.ws.terminate();
await pod.end(10_000);
