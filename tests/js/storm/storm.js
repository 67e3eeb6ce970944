#!/usr/bin/env node
// Many clients in bad weather, and what a checker says of it: TEST_POD=target/release/roomcast node storm/storm.js [--minutes 10] [--clients 200]
//
// The package of clients/typescript, as built, in Node: WebSockets and long-polls, tokens that are good for 5 s. Fails if an event or a
// publish is lost, comes twice or out of order; if what was read is not kept, or its author not told in the end; and if, 99 of 100 times, a
// client is not connected 300 ms after the network is back.

import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { percentile } from '../edge/honest.js';
import { until } from '../support/process.js';
import { Field } from './field.js';
import { TURNS } from './weather.js';

/** So many milliseconds after the network is back, 99 of 100 are connected. */
const MOST = 300;
/** Of what is still to be told or kept. */
const PATIENCE = 15_000;
/** Authors are told of what is read within a second; if they are away just then, of what is read next. */
const TOLD_WITHIN = 1_500;
const ROUNDS = 10;
/** So many that failed are enough to be told of. */
const ENOUGH = 3;

/**
 * Runs rounds until `enough(round)`; answers the verdict and what was measured. `pace`: milliseconds between a client's publishes;
 * `haste`: how many times as fast the weather changes; `patience`: how long what is under way may take once the weather is over; `reads`:
 * whether it is looked at what was read, and who was told of it.
 */
export async function storm({
  clients = 200,
  transports = ['websocket', 'poll'],
  pace = 1_200,
  haste = 1,
  patience = 60_000,
  turns = TURNS,
  enough = (round) => round > 0,
  reads = true,
  tell = () => {},
}) {
  const field = await Field.start(clients, transports);
  Object.assign(field, { haste, patience, back: [], deaths: [] });
  const { crowd, ledger, ways } = field;
  try {
    const speaking = crowd.map((one) => one.speak(pace));
    for (let round = 0; !enough(round); round++) {
      for (const [name, turn] of turns) {
        await turn(field);
        tell(`${name}: ${ledger.published} publishes, ${ledger.deliveries} events`);
      }
    }
    for (const one of crowd) one.stop();
    for (const way of ways) {
      await way.do('block');
      await way.set({ delay: 0 });
    }
    await Promise.all(speaking);
    const verdict = await judge(field, reads);
    return { ...verdict, ...measured(field) };
  } finally {
    await field.end();
  }
}

/** What the ledger says once all that was under way has come. */
async function judge(field, withReads) {
  const { crowd, ledger } = field;
  const reads = {};
  try {
    await field.settled('get their answers', ({ waiting }) => waiting === 0);
    if (withReads) await judgeReads(field, reads);
    await field.settled('get their last answers', ({ waiting }) => waiting === 0);
  } catch ({ message }) {
    reads.unsettled = message;
  }
  const heads = new Map();
  for (const room of new Set(crowd.flatMap(({ rooms }) => rooms))) {
    const log = await field.log(room);
    ledger.log(room, log);
    heads.set(room, log.at(-1)?.[0] ?? 0);
  }
  const isThere = ({ who, rooms }) => rooms.every((room) => ledger.reached(who, room) >= heads.get(room));
  await field.settled('see the end of their rooms', isThere).catch(({ message }) => {
    reads.unsettled ??= message;
  });
  return { ...ledger.judge(heads), reads };
}

/** Whether all is kept that was read, and whether its authors know of it: of what they wrote in the storm, and of what they write then. */
async function judgeReads(field, reads) {
  const pairs = field.crowd.filter(({ last, number }) => last && (number ^ 1) < field.crowd.length);
  const isKept = async ({ partner, pair, last }) => (await field.mark(partner, pair)) >= last.offset;
  reads.unkept = [];
  for (const one of pairs) {
    const said = `what ${one.partner} has read of ${one.who} up to ${one.last.offset} is not kept`;
    await until(() => isKept(one), PATIENCE, said).catch(({ message }) => reads.unkept.push(message));
    if (reads.unkept.length >= ENOUGH) break;
  }
  // A receipt comes at most once, and may have come while its author was away.
  Object.assign(reads, { authors: pairs.length, untold: pairs.filter(({ isTold }) => !isTold).length });
  const left = () => pairs.filter(({ isTold }) => !isTold);
  // Over long-polls it may fall between two of them: a later one goes further.
  for (let round = 0; round === 0 || (round < ROUNDS && left().length > 0); round++) {
    await Promise.all((round === 0 ? pairs : left()).map((one) => one.publish(one.pair)));
    await until(() => left().length === 0, TOLD_WITHIN, '').catch(() => {});
  }
  reads.untoldAtLast = left().map(({ who }) => who);
}

const times = (all) =>
  all.length > 0
    ? { count: all.length, p50: percentile(all, 0.5), p99: percentile(all, 0.99), most: Math.max(...all) }
    : { count: 0 };

function measured({ crowd, ledger, back, deaths }) {
  const errors = {};
  for (const { reported } of crowd) for (const code of reported) errors[code] = (errors[code] ?? 0) + 1;
  return {
    clients: crowd.length,
    published: ledger.published,
    deliveries: ledger.deliveries,
    tokens: crowd.reduce((sum, { tokens }) => sum + tokens, 0),
    back: times(back),
    // After cuts too, which nothing tells of.
    opened: times(crowd.flatMap(({ opened }) => opened)),
    joined: times(crowd.flatMap(({ joined }) => joined)),
    deaths: deaths.map(({ clients, attempts, opened }) => ({
      clients,
      attempts: attempts.length,
      first: attempts[0],
      last: attempts.at(-1),
      mostIn100Ms: mostWithin(attempts, 100),
      mostIn1S: mostWithin(attempts, 1_000),
      opened: times(opened),
    })),
    errors,
  };
}

/** The most of these times, in order, that lie within so many milliseconds. */
function mostWithin(all, ms) {
  let [most, first] = [0, 0];
  for (const [at, time] of all.entries()) {
    while (time - all[first] > ms) first += 1;
    most = Math.max(most, at - first + 1);
  }
  return most;
}

/** What is wrong with a storm's result, in words. */
export function troubles({ lost, twice, disordered, faults, reads }) {
  const all = [...faults, ...(reads.unkept ?? [])];
  if (lost + twice + disordered > faults.length) all.push(`lost ${lost}, twice ${twice}, out of order ${disordered}`);
  if (reads.unsettled) all.push(reads.unsettled);
  for (const who of reads.untoldAtLast ?? []) all.push(`${who} was not told that it was read`);
  return all;
}

async function command() {
  const { values } = parseArgs({
    options: { minutes: { type: 'string', default: '10' }, clients: { type: 'string', default: '200' } },
  });
  const end = Date.now() + Number(values.minutes) * 60_000;
  const result = await storm({
    clients: Number(values.clients),
    enough: (round) => round > 0 && Date.now() >= end,
    tell: (line) => console.log(line),
  });
  const { faults, ...figures } = result;
  console.log(JSON.stringify(figures, (_, value) => (typeof value === 'number' ? Math.round(value) : value), 1));
  const wrong = troubles(result);
  if (!(result.back.p99 <= MOST)) wrong.push(`back within ${result.back.p99} ms, and ${MOST} are the bar`);
  for (const trouble of wrong) console.error(trouble);
  console.log(wrong.length === 0 ? 'no trouble' : `troubles: ${wrong.length}`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await command();
