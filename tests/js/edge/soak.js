#!/usr/bin/env node
// Churn and a rotating choice of attacks for a long time: TEST_POD=target/release/roomcast node edge/soak.js [--minutes 30] [--turn 20]
//
// Fails when a line at error was logged, when honest clients were not served as they should be once an attack was over, or when memory,
// files or threads grow: the slope over the second half of the turns, each sampled when what its attack left had time to go.

import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Client } from '../support/client.js';
import { attacks } from './attacks.js';
import { attack, attackedPod, calm, errorsOf, holdings } from './field.js';
import { Honest, percentile } from './honest.js';

/** The most growth an hour that is taken for noise. */
const MOST = { rss: 64, files: 20, threads: 2 };

/** So many turns make a slope. */
const ENOUGH = 20;

/** The growth of `what` an hour: the least-squares line through the samples. */
export function slope(samples, what) {
  const mean = (of) => samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [at, value] = [mean((sample) => sample.hours), mean((sample) => sample[what])];
  const along = mean((sample) => (sample.hours - at) * (sample[what] - value));
  return along / mean((sample) => (sample.hours - at) ** 2);
}

/** Clients that come, join rooms of made-up names, and go, for as long as `going` says. */
async function churn(pod, going) {
  for (let round = 0; going(); round++) {
    const url = round % 2 ? pod.tlsUrl : pod.plainUrl;
    const client = await Client.open(url, { handshakeTimeout: 5_000 }).catch(() => null);
    if (client) {
      for (let n = 0; n < 4; n++) client.send({ type: 'subscribe', room: `churn:${randomBytes(8).toString('hex')}` });
      await client.request({ type: 'ping' }).catch(() => {});
      client.ws.terminate();
    }
    await sleep(10);
  }
}

/** One attack of `seconds`, honest clients beside it, and as long a rest; what the pod holds then. */
async function turnOf(name, pod, seconds) {
  const stop = await attack(name, pod);
  const honest = await Honest.join(pod).catch(() => null);
  const done = honest?.begin();
  await sleep(seconds * 1_000);
  const seen = await done?.();
  const did = await stop();
  const quiet = await calm(pod);
  await sleep(Math.max(0, seconds - quiet) * 1_000);
  return { name, did, quiet, p99: seen ? percentile(seen.events, 0.99) : NaN, ...(await holdings(pod)) };
}

/** The whole of it, on a pod that runs; answers the samples and what was wrong. */
export async function soak(pod, { enough, seconds, tell = () => {} }) {
  const began = Date.now();
  const names = Object.keys(attacks);
  const samples = [];
  const troubles = [];
  let going = true;
  const churning = [churn(pod, () => going), churn(pod, () => going)];
  for (let round = 0; !enough(round, names.length); round++) {
    try {
      const sample = {
        ...(await turnOf(names[round % names.length], pod, seconds)),
        hours: (Date.now() - began) / 3_600_000,
      };
      samples.push(sample);
      tell(sample);
    } catch (error) {
      troubles.push(`"${names[round % names.length]}": ${error.message}`);
    }
  }
  going = false;
  await Promise.all(churning);
  troubles.push(...errorsOf(pod));
  return { samples, troubles };
}

async function command() {
  const { values } = parseArgs({
    options: { minutes: { type: 'string', default: '30' }, turn: { type: 'string', default: '20' } },
  });
  const end = Date.now() + Number(values.minutes) * 60_000;
  const pod = await attackedPod();
  const tell = ({ name, did, hours, p99, quiet, ...held }) => {
    const figures = Object.entries(held).map(([what, value]) => `${what} ${value.toFixed(what === 'rss' ? 1 : 0)}`);
    const times = `honest p99 ${p99.toFixed(1)} ms, quiet after ${quiet.toFixed(1)} s`;
    console.log(`${(hours * 60).toFixed(1)} min, ${name}: ${figures.join(', ')}; ${times}; ${JSON.stringify(did)}`);
  };
  const { samples, troubles } = await soak(pod, {
    enough: () => Date.now() >= end,
    seconds: Number(values.turn) / 2,
    tell,
  });
  const half = samples.slice(Math.floor(samples.length / 2));
  for (const [what, most] of half.length >= ENOUGH ? Object.entries(MOST) : []) {
    const growth = slope(half, what);
    console.log(`${what}: ${growth.toFixed(1)} an hour over the second half`);
    if (growth > most) troubles.push(`${what} grows: ${growth.toFixed(1)} an hour, and ${most} are taken for noise`);
  }
  if (half.length < ENOUGH) console.log(`too few turns for a slope: ${samples.length} of ${2 * ENOUGH}`);
  const ended = await pod.end(60_000);
  if (ended.code !== 0) troubles.push(`the pod ended with ${JSON.stringify(ended)}`);
  for (const trouble of troubles) console.error(trouble);
  console.log(troubles.length === 0 ? 'no trouble' : `troubles: ${troubles.length}`);
  process.exitCode = troubles.length === 0 ? 0 : 1;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await command();
