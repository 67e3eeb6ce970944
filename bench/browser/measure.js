#!/usr/bin/env node
// What a page that follows 1,000 rooms pays for 1,000 events a second, by client: CPU and memory of Chromium.
//
//   npm --prefix tests/js ci; npm --prefix bench/bundles ci; npm --prefix clients/typescript ci && npm --prefix clients/typescript run build
//   TEST_POD=target/release/roomcast node bench/browser/measure.js [--seconds 10] [--repetitions 5] [--rooms 1000] [--rate 1000] [NAME...]
//
// A browser of its own for each measurement, the clients in turns. An event that is lost, comes twice or out of order ends it. Prints the table
// of docs/BENCHMARKS.md.

import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { until } from '../../tests/js/support/process.js';
import { Browser } from './devtools.js';
import { servePages } from './pages.js';
import { centrifugo, roomcast, socketio } from './servers.js';

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    repetitions: { type: 'string', default: '5' },
    rooms: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '1000' },
  },
  allowPositionals: true,
});
const [seconds, repetitions, count, rate] = ['seconds', 'repetitions', 'rooms', 'rate'].map((name) =>
  Number(values[name]),
);
/** Events leave together so often, as they would from a backend with much to say. */
const TICK = 20;
const TEXT = 'lorem ipsum dolor sit amet '.repeat(7).slice(0, 180);

const CLIENTS = [
  ['roomcast', 'roomcast', roomcast(256)],
  ['roomcast, uncompressed', 'roomcast', roomcast('"never"')],
  ['centrifuge', 'centrifuge', centrifugo],
  ['socket.io-client', 'socket.io-client', socketio],
].filter(([name]) => positionals.length === 0 || positionals.includes(name));
if (CLIENTS.length === 0) throw new Error('no such client');

const rooms = Array.from({ length: count }, (_, n) => `room-${n}`);

/** Publishes to the rooms in turn for some seconds. How many there were. */
async function publish(server, numbers) {
  const calls = [];
  const total = seconds * rate;
  const began = performance.now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.ceil(((performance.now() - began) / 1_000) * rate));
    const events = [];
    for (; sent < due; sent++) {
      const room = rooms[sent % rooms.length];
      numbers.set(room, (numbers.get(room) ?? 0) + 1);
      events.push({ room, n: numbers.get(room), at: Date.now(), text: TEXT });
    }
    if (events.length > 0) calls.push(server.publish(events));
    await sleep(TICK);
  }
  await Promise.all(calls);
  return total;
}

/** Seconds of CPU so far, by process. */
async function used(browser) {
  const { processInfo } = await browser.send('SystemInfo.getProcessInfo');
  return new Map(processInfo.map(({ id, type, cpuTime }) => [id, { isPage: type === 'renderer', cpuTime }]));
}

/** What was used in between, of the page that did most and of all processes. */
function between(before, after) {
  const each = [...after].map(([id, { isPage, cpuTime }]) => [id, isPage, cpuTime - (before.get(id)?.cpuTime ?? 0)]);
  const [[id, , page]] = each.filter(([, isPage]) => isPage).sort(([, , one], [, , other]) => other - one);
  return { id, page, all: each.reduce((sum, [, , time]) => sum + time, 0) };
}

/** Memory that only this process has, and has written to, in bytes. */
async function privateMemory(id) {
  const [, size] = /^Private_Dirty: +(\d+) kB$/m.exec(await readFile(`/proc/${id}/smaps_rollup`, 'utf8'));
  return size * 1_024;
}

async function heap(page) {
  await page.send('HeapProfiler.collectGarbage');
  return (await page.send('Runtime.getHeapUsage')).usedSize;
}

const scripted = async (page) => {
  const { metrics } = await page.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'ScriptDuration').value;
};

async function measure(name, client, start, origin) {
  const server = await start(count, origin);
  const browser = await Browser.launch();
  try {
    const page = await browser.open(`${origin}/${client}`, 'page');
    await page.send('Performance.enable');
    const empty = await heap(page);
    const joined = await page.evaluate(
      async (url, rooms) => {
        const from = performance.now();
        await window.page.follow(url, rooms, window.saw);
        return performance.now() - from;
      },
      server.url,
      rooms,
    );
    const numbers = new Map();
    // What is compiled and grown at first is not what an event costs.
    const reached = (total) =>
      until(
        () => page.evaluate((total) => window.seen.count >= total, total),
        10_000,
        () => `${name}: not all of ${total} events came ${page.errors}`,
      );
    const first = await publish(server, numbers);
    await reached(first);
    await page.evaluate(() => (window.seen.delays = []));
    const [before, scriptBefore] = [await used(browser), await scripted(page)];
    const total = first + (await publish(server, numbers));
    const { id, page: own, all } = between(before, await used(browser));
    const script = (await scripted(page)) - scriptBefore;
    await reached(total);
    const seen = await page.evaluate(() => window.seen);
    if (seen.count !== total || seen.disordered > 0)
      throw new Error(`${name}: ${seen.count} of ${total} events, ${seen.disordered} out of order`);
    await page.evaluate(() => (window.seen.delays = []));
    const delays = seen.delays.sort((one, other) => one - other);
    const events = seconds * rate;
    return {
      joined,
      page: (own / events) * 1e6,
      script: (script / events) * 1e6,
      all: (all / events) * 1e6,
      heap: ((await heap(page)) - empty) / 2 ** 20,
      memory: (await privateMemory(id)) / 2 ** 20,
      half: delays[Math.floor(delays.length / 2)],
      most: delays[Math.floor(delays.length * 0.99)],
    };
  } finally {
    await browser.end();
    await server.end();
  }
}

const COLUMNS = {
  joined: ['all rooms joined, ms', 0],
  page: ['CPU of the page, us an event', 0],
  script: ['of it script', 0],
  all: ['CPU of all of Chromium, us an event', 0],
  heap: ['heap of the client, MiB', 1],
  memory: ['private memory of the page, MiB', 1],
  half: ['publish to listener, ms, p50', 0],
  most: ['p99', 0],
};

const { server: pages, origin } = await servePages();
const results = new Map(CLIENTS.map(([name]) => [name, []]));
for (let n = 0; n < repetitions; n++)
  for (const [name, ...how] of CLIENTS) {
    const result = await measure(name, ...how, origin);
    results.get(name).push(result);
    console.error(name, JSON.stringify(result));
  }
pages.close();
const cell = (all, column, digits) => {
  const sorted = all.map((one) => one[column]).sort((one, other) => one - other);
  if (sorted[0] === undefined) return '';
  const [least, middle, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  return `${middle.toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
};
console.log(
  `| client | ${Object.values(COLUMNS)
    .map(([title]) => title)
    .join(' | ')} |`,
);
console.log(`|${' --- |'.repeat(Object.keys(COLUMNS).length + 1)}`);
for (const [name, all] of results)
  console.log(
    `| ${[name, ...Object.entries(COLUMNS).map(([column, [, digits]]) => cell(all, column, digits))].join(' | ')} |`,
  );
