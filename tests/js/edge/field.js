// A pod that is attacked, the attacker as a program of its own, and what the pod holds.

import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { Process } from '../support/process.js';
import { BIG } from './attacks.js';
import { Honest } from './honest.js';

const here = dirname(fileURLToPath(import.meta.url));

/** A pod with a room whose log has about a MiB; `since` of it is where that log ends. */
export async function attackedPod(more = '') {
  const config = `memory_budget = "64MiB"\n${more}\n[socketio]\nenabled = true\n[memory_broker]\nmax_bytes = "64MiB"\n`;
  const pod = await Pod.start({ config, args: ['--log', 'json'] });
  for (let n = 0; n < 64; n++) pod.since = await pod.publish(BIG, 'x'.repeat(14_000));
  return pod;
}

/** An attack on a pod, or on bare listeners beside it (`bare`), at its own or another `rate`; the returned function ends it and answers what it did. */
export async function attack(name, pod, { bare = false, rate } = {}) {
  let ports = [pod.plainPort, pod.port];
  let listener;
  if (bare) {
    ports = await freePorts(2);
    listener = new Process(process.execPath, [join(here, 'bare_listener.js'), ...ports.map(String)]);
  }
  const args = [
    join(here, 'attacker.js'),
    name,
    ...ports.map(String),
    JSON.stringify(pod.since ?? {}),
    ...(rate ? [String(rate)] : []),
  ];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  return async () => {
    child.stdin.end();
    if (child.exitCode === null) await once(child, 'exit');
    await listener?.stop();
    return JSON.parse(said);
  };
}

/** What a pod holds: MiB of memory, open files, threads, and its own count of connections and rooms. */
export async function holdings(pod) {
  const folder = `/proc/${pod.process.pid}`;
  const [status, files, tasks, metrics] = await Promise.all([
    readFile(`${folder}/status`, 'utf8'),
    readdir(`${folder}/fd`),
    readdir(`${folder}/task`),
    fetch(`${pod.internal}/metrics`, { signal: AbortSignal.timeout(15_000) }).then((answer) => answer.text()),
  ]);
  const sum = (metric) =>
    metrics
      .split('\n')
      .filter((line) => line.startsWith(metric))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
  return {
    rss: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1_024,
    files: files.length,
    threads: tasks.length,
    connections: sum('roomcast_connections{'),
    waiting: sum('roomcast_limit_used{limit="waiting_sockets"}'),
    rooms: sum('roomcast_rooms'),
    held: sum('roomcast_held_bytes') / 1_048_576,
  };
}

/**
 * Seconds until events, ways in and `/health` are as they should be, all three, and none takes `quick` ms; fails after `patience`
 * seconds.
 */
export async function calm(pod, { quick = Infinity, patience = 60 } = {}) {
  const began = Date.now();
  let why = 'no client came in';
  while (Date.now() - began < patience * 1_000) {
    const at = Date.now();
    const honest = await Honest.join(pod).catch((error) => (why = error.message) && null);
    if (!honest) continue;
    const done = honest.begin();
    await sleep(500);
    const { events, joins, health, failures } = await done();
    const times = [...events, ...joins, ...health];
    if (Object.keys(failures).length === 0 && times.every((time) => time < quick)) return (at - began) / 1_000;
    why = `${JSON.stringify(failures)}, ${Math.max(...times).toFixed(0)} ms`;
  }
  throw new Error(`after ${patience} s the pod does not serve as it should: ${why}`);
}

/** The lines at error, and panics, in a pod's log. */
export const errorsOf = (pod) => pod.log.split('\n').filter((line) => /"level":"ERROR"|panicked/i.test(line));
