#!/usr/bin/env node
// Each attack beside its control, and the bars of docs/SECURITY.md: TEST_POD=target/release/roomcast node edge/bars.js [--seconds N] [NAME...]
//
// Control: the same attack at the same rate on a listener that accepts and closes, beside the idle pod, on the same cores. An honest
// client's p99 is at most twice the control's, `/health` at most 50 ms above it, and all is as before 12 s after the attack. An attack
// whose control takes less than FLOOR ms is judged by FLOOR: twice a moment is a moment.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { attacks } from './attacks.js';
import { attack, attackedPod, calm, errorsOf, holdings } from './field.js';
import { Honest, percentile } from './honest.js';

const FLOOR = 10;
const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '12' }, json: { type: 'boolean' } },
  allowPositionals: true,
});
const seconds = Number(values.seconds);
const names = Object.keys(attacks).filter((name) => positionals.length === 0 || positionals.includes(name));
if (names.length === 0) throw new Error(`no such attack; there are:\n  ${Object.keys(attacks).join('\n  ')}`);

/** What honest clients see beside an attack on the pod, or on nothing. */
async function beside(name, pod, bare) {
  const honest = await Honest.join(pod);
  const end = await attack(name, pod, { bare });
  await sleep(1_000);
  const done = honest.begin();
  let peak = 0;
  for (const until = Date.now() + seconds * 1_000; Date.now() < until; await sleep(250)) {
    peak = Math.max(peak, (await holdings(pod)).rss);
  }
  const seen = await done();
  return { ...seen, peak, did: await end() };
}

const ms = (times) => `${percentile(times, 0.5).toFixed(1)} / ${percentile(times, 0.99).toFixed(1)}`;
let missed = 0;
console.log(
  '| attack | event p50 / p99 ms: control, attacked | join: control, attacked | `/health` p99: control, attacked | RSS MiB | recovery s |',
);
console.log('| --- | --- | --- | --- | --- | --- |');
for (const name of names) {
  const pod = await attackedPod();
  try {
    const control = await beside(name, pod, true);
    await calm(pod, { quick: 250 });
    const attacked = await beside(name, pod, false);
    const after = await calm(pod, { quick: 250 }).catch(() => Infinity);
    const bars = {
      event: percentile(attacked.events, 0.99) <= 2 * Math.max(FLOOR, percentile(control.events, 0.99)),
      join: percentile(attacked.joins, 0.99) <= 2 * Math.max(5 * FLOOR, percentile(control.joins, 0.99)),
      health: percentile(attacked.health, 0.99) <= percentile(control.health, 0.99) + 50,
      recovery: after <= 12,
      failures: Object.keys(attacked.failures).length === 0,
      errors: errorsOf(pod).length === 0,
    };
    const misses = Object.keys(bars).filter((bar) => !bars[bar]);
    missed += misses.length;
    const health = [control, attacked].map(({ health }) => percentile(health, 0.99).toFixed(1)).join(', ');
    const cells = [
      name,
      `${ms(control.events)}, ${ms(attacked.events)}`,
      `${ms(control.joins)}, ${ms(attacked.joins)}`,
      health,
      attacked.peak.toFixed(0),
      after.toFixed(1),
    ];
    console.log(`| ${cells.join(' | ')} |${misses.length > 0 ? ` MISSED ${misses.join(', ')}` : ''}`);
    if (values.json || misses.length > 0) {
      console.log(JSON.stringify({ name, failures: attacked.failures, did: attacked.did, control: control.did }));
    }
    for (const line of errorsOf(pod).slice(0, 3)) console.log(line);
  } finally {
    await pod.end(15_000);
  }
}
process.exitCode = missed > 0 ? 1 : 0;
