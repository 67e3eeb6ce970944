#!/usr/bin/env node
// A flood of signals: 5,000 users, 5 a room, ten signals a second each, of which one in 2 s passes. What passes, what the pod uses, and that no log
// and no key has any of it.
//
//   TEST_POD=target/release/roomcast node bench/people/signals.js [--users 5000] [--each 10] [--seconds 20] [--generators 2]
//
// Needs redis-server, redis-cli and tests/js/node_modules. Generators are processes of their own; all shares the machine.

import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { SECRET, token } from '../../tests/js/support/tokens.js';
import { cpu, format, metric } from './measure.js';
import { frame, Socket } from './socket.js';

const GROUP = 5;
const CONFIG = `[tokens]
hmac_secrets = ["${SECRET}"]
[[policy]]
match = ["chat:*"]
signal = "user"
signal_every = "2s"
`;

/** Holds some of the users: joins, then sends as fast as it is told, and counts what comes. */
async function generate({ port, from, users }) {
  const counts = { sent: 0, received: 0, ends: 0, errors: 0, first: '' };
  let joined = 0;
  const take = (text) => {
    if (text.startsWith('{"type":"signal"')) {
      if (text.includes('"ttl":0')) counts.ends++;
      else counts.received++;
    } else if (text.startsWith('{"type":"subscribed"')) joined++;
    else if (text.startsWith('{"type":"error"')) counts.errors++, (counts.first ||= text);
  };
  const sockets = [];
  for (let n = from; n < from + users; n++) {
    const socket = await Socket.open(port, { token: token(`u${n}`), protocol: 'roomcast.v1', take });
    socket.raw.on('close', () => (counts.closed = (counts.closed ?? 0) + 1));
    const room = `chat:${Math.floor(n / GROUP)}`;
    socket.send({ type: 'subscribe', room });
    socket.signal = frame(JSON.stringify({ type: 'signal', room, topic: 'typing' }));
    sockets.push(socket);
  }
  while (joined < users) await sleep(20);
  process.send({ ready: true });
  let timer;
  process.on('message', ({ rate, tell, end }) => {
    if (tell) process.send({ counts, cpu: cpu(process.pid) });
    if (end) process.exit(0);
    if (rate === undefined) return;
    clearInterval(timer);
    if (rate === 0) return;
    let began = performance.now();
    let done = 0;
    timer = setInterval(() => {
      const due = ((performance.now() - began) / 1_000) * rate;
      // What could not be sent in time is not made up for.
      if (due - done > rate / 5) (began = performance.now()), (done = 0);
      for (; done < due; done++) {
        const socket = sockets[counts.sent++ % users];
        socket.raw.write(socket.signal);
      }
    }, 5);
  });
}

async function main() {
  const { Pod } = await import('../../tests/js/support/pod.js');
  const { Redis } = await import('../../tests/js/support/redis.js');
  const options = { users: '5000', each: '10', seconds: '20', generators: '2' };
  const { values } = parseArgs({
    options: Object.fromEntries(Object.entries(options).map(([name, of]) => [name, { type: 'string', default: of }])),
  });
  const [users, each, seconds, generators] = Object.keys(options).map((name) => Number(values[name]));
  const redis = await Redis.start();
  const pod = await Pod.start({ config: CONFIG, args: ['--redis', redis.url, '--workers', '2'] });
  const children = [];
  try {
    const part = users / generators;
    for (let n = 0; n < generators; n++) {
      const child = fork(fileURLToPath(import.meta.url), [], {
        env: { ...process.env, GENERATOR: JSON.stringify({ port: pod.plainPort, from: n * part, users: part }) },
      });
      children.push(child);
    }
    const next = (child) => new Promise((told) => child.once('message', told));
    await Promise.all(children.map(next));
    await sleep(2_000);
    const keys = async () => (await redis.cli('--scan')).split('\n').filter(Boolean);
    const keysBefore = await keys();
    const linesBefore = pod.log.split('\n').length;
    const look = async () => {
      const told = children.map(next);
      for (const child of children) child.send({ tell: true });
      const all = await Promise.all(told);
      const sum = (of) => all.reduce((total, one) => total + (of(one) ?? 0), 0);
      const outcome = (name) => metric(pod, `roomcast_signals_total{outcome="${name}"}`);
      return {
        at: performance.now(),
        sent: sum(({ counts }) => counts.sent),
        received: sum(({ counts }) => counts.received),
        ends: sum(({ counts }) => counts.ends),
        errors: sum(({ counts }) => counts.errors),
        closed: sum(({ counts }) => counts.closed),
        first: all.map(({ counts }) => counts.first).find(Boolean),
        generators: sum(({ cpu }) => cpu),
        pod: cpu(pod.process.pid),
        passed: await outcome('sent'),
        thinned: await outcome('thinned'),
        limited: await outcome('limited'),
      };
    };
    for (const child of children) child.send({ rate: part * each });
    await sleep(5_000);
    const before = await look();
    await sleep(seconds * 1_000);
    const after = await look();
    for (const child of children) child.send({ rate: 0 });
    const time = (after.at - before.at) / 1_000;
    const rate = (name) => (after[name] - before[name]) / time;
    console.log(
      `${format(users)} users, ${GROUP} a room, ${format(users * each)} signals a second wanted, ${format(time)} s`,
    );
    for (const name of ['sent', 'passed', 'thinned', 'limited', 'received', 'ends'])
      console.log(`  ${name}: ${format(rate(name))} a second`);
    console.log(
      `  allowed: ${format(users / 2)} pass, ${format((users / 2) * (GROUP - 1))} received; of what was sent ${format((rate('passed') / rate('sent')) * 100, 2)} % passed`,
    );
    console.log(`  errors ${after.errors} ${after.first ?? ''}, closed ${after.closed}`);
    console.log(
      `  CPU, % of a core: pod ${format(rate('pod') * 100)}, generators ${format(rate('generators') * 100)}; ${format((rate('pod') / rate('sent')) * 1e6, 2)} us of the pod's a signal`,
    );
    await sleep(8_000);
    const keysAfter = await keys();
    const fresh = keysAfter.filter((key) => !keysBefore.includes(key));
    const logs = keysAfter.filter((key) => /:log:/.test(key));
    console.log(
      `  keys in Redis: ${keysBefore.length} before, ${keysAfter.length} after, new ones: ${JSON.stringify(fresh.slice(0, 5))}; logs: ${logs.length}; lines of the pod's log meanwhile: ${pod.log.split('\n').length - linesBefore}`,
    );
  } finally {
    for (const child of children) child.send({ end: true });
    await pod.end(10_000);
    await redis.stop();
  }
}

if (process.env.GENERATOR) await generate(JSON.parse(process.env.GENERATOR));
else await main();
