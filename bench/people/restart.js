#!/usr/bin/env node
// 10,000 users through a rolling restart of three pods: how many announcements a second their followers get.
//
//   TEST_POD=target/release/roomcast node bench/people/restart.js [--users 10000] [--window 10]
//
// A new pod is there before an old one goes. A client that is sent away comes back within a second, to any pod that is not leaving. Needs
// redis-server, redis-cli and tests/js/node_modules.

import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { SECRET, token } from '../../tests/js/support/tokens.js';
import { cpu, format, metric } from './measure.js';
import { Socket } from './socket.js';

const CONFIG = `[tokens]
hmac_secrets = ["${SECRET}"]
[[policy]]
match = ["presence:*"]
publish = "nobody"
retain = "room"
[user_presence]
room = "presence:{user}"
`;

/** Holds users, each with a connection, to ports that the parent names. */
async function hold({ users }) {
  let ports = [];
  let [open, moves, longest] = [0, 0, 0];
  process.on('message', (message) => {
    if (message.ports) ports = message.ports;
    if (message.tell) process.send({ open, moves, longest });
    if (message.end) process.exit(0);
  });
  while (ports.length === 0) await sleep(10);
  const live = async (n) => {
    const signed = token(`u${n}`);
    for (let lost = 0; ; ) {
      try {
        const socket = await Socket.open(ports[Math.floor(Math.random() * ports.length)], {
          token: signed,
          protocol: 'roomcast.v1',
        });
        open++;
        if (lost) longest = Math.max(longest, Date.now() - lost);
        await socket.ended;
        open--;
        moves++;
        lost = Date.now();
      } catch {}
      await sleep(Math.random() * 1_000);
    }
  };
  for (let n = 0; n < users; n++) {
    live(n);
    if (n % 20 === 0) await sleep(10);
  }
}

async function main() {
  const { Pod } = await import('../../tests/js/support/pod.js');
  const { Redis } = await import('../../tests/js/support/redis.js');
  const { values } = parseArgs({
    options: { users: { type: 'string', default: '10000' }, window: { type: 'string', default: '10' } },
  });
  const users = Number(values.users);
  const redis = await Redis.start();
  const args = ['--redis', redis.url, '--drain-delay', '1s', '--drain-window', `${values.window}s`];
  const start = () => Pod.start({ config: CONFIG, args });
  const pods = await Promise.all([start(), start(), start()]);
  const leaving = [];
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, HOLDER: JSON.stringify({ users }) },
  });
  const told = new Map();
  let going = true;
  try {
    /** All announcements so far, of pods that are gone too. */
    const announced = async () => {
      for (const pod of [...pods, ...leaving]) {
        const count = await metric(pod, 'roomcast_user_presence_announced_total');
        told.set(pod, Math.max(count, told.get(pod) ?? 0));
      }
      return [...told.values()].reduce((sum, count) => sum + count, 0);
    };
    const ask = () => new Promise((answered) => (child.once('message', answered), child.send({ tell: true })));
    const tellPorts = () => child.send({ ports: pods.map((pod) => pod.plainPort) });
    const began = Date.now();
    tellPorts();
    while ((await announced()) < users) {
      if (Date.now() - began > 120_000) throw new Error(`${await announced()} of ${users} were announced`);
      await sleep(200);
    }
    console.log(`${format(users)} users came and were announced within ${format((Date.now() - began) / 1_000)} s`);
    await sleep(5_000);
    const before = await announced();
    const calls = async () => Number(/total_commands_processed:(\d+)/.exec(await redis.cli('INFO', 'stats'))[1]);
    const [commands, since] = [await calls(), Date.now()];
    const rates = [];
    const watching = (async () => {
      for (let last = before; going; ) {
        await sleep(1_000);
        const now = await announced();
        rates.push(now - last);
        last = now;
      }
    })();
    for (let n = 0; n < 3; n++) {
      pods.push(await start());
      const old = pods.shift();
      leaving.push(old);
      tellPorts();
      old.running.signal('SIGTERM');
      await old.exit;
    }
    const took = (Date.now() - since) / 1_000;
    // Whatever is announced late: the debounce, and a look at those of pods that are gone.
    await sleep(25_000);
    going = false;
    await watching;
    const { open, moves, longest } = await ask();
    console.log(
      `three pods replaced in ${format(took)} s; ${format(moves)} connections moved, ${format(open)} are open, the longest without one ${longest} ms`,
    );
    console.log(`announcements: ${(await announced()) - before} in all, at most ${Math.max(...rates)} a second`);
    console.log(
      `Redis: ${format(((await calls()) - commands) / ((Date.now() - since) / 1_000))} commands a second, those in scripts included; CPU of the pods that came: ${format(pods.reduce((sum, pod) => sum + cpu(pod.process.pid), 0))} s`,
    );
  } finally {
    going = false;
    child.send({ end: true });
    await Promise.all(pods.map((pod) => pod.end(20_000)));
    await redis.stop();
  }
}

if (process.env.HOLDER) await hold(JSON.parse(process.env.HOLDER));
else await main();
