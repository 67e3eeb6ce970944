#!/usr/bin/env node
// People on two pods of the preset `social`, cut for 2 s again and again, while pods are killed and left: what they said, got, read and chose
// against what the server made of it.
//
//   TEST_POD=target/release/roomcast node tests/js/people/run.js [--minutes 5] [--users 200]
//
// Six more people lie, each in its own way: the run fails too if the checker does not find each of them.

import { realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { until } from '../support/process.js';
import { Fleet } from './fleet.js';
import { Person } from './person.js';
import { Record } from './record.js';
import { judge, KINDS } from './verdict.js';
import { Watcher } from './watcher.js';

const CUT = 2_000;
const WAYS = 8;
const GROUP = 10;
const WATCHED = 100;

const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** What each liar must be found out for. */
export const LIES = {
  'liar-drop': 'lost',
  'liar-repeat': 'twice',
  'liar-swap': 'order',
  'liar-read': 'unread',
  'liar-status': 'presence',
  'liar-row': 'archive',
};

/** The whole of it; `shape`: `users`, `seconds`, `times` and `every` (see `Fleet` and `Person`), `kill` and `cut`, how often in ms. */
export async function people(shape, tell = () => {}) {
  const record = new Record();
  const fleet = await Fleet.start({ times: shape.times, ways: WAYS + 1 });
  const steady = fleet.ways.pop();
  const { ways } = fleet;
  fleet.ways = [...ways, steady];
  let going = true;
  try {
    const all = cast(shape, { ways, record });
    const watchers = watch([...all.keys()], steady, record);
    await Promise.all(watchers.map((watcher) => watcher.begin()));
    // What was there before: a badge that the room retains, and behind it what nobody is to get.
    for (const topic of ['badge', 'new_notification']) {
      await Promise.all([...all.keys()].map((user) => notify(fleet, user, record, topic)));
    }
    for (const person of all.values()) person.come();
    const people = [...all.values()];
    const devices = people.flatMap((person) => person.devices);
    const isIn = (device) => device.follows.every((channel) => device.channels.has(channel));
    await until(
      () => devices.every(isIn) && people.every(({ user }) => record.told.has(user)),
      60_000,
      () => `not all came: ${devices.filter((device) => !isIn(device)).map(({ name }) => name)}`,
    );
    const began = Date.now();
    tell(`${people.length} people with ${devices.length} devices are there`);
    for (const person of people) person.begin();
    const loops = [
      each(
        () => going,
        1_000 / shape.notifications,
        () => notify(fleet, pick(people).user, record),
      ),
      each(
        () => going,
        shape.cut,
        () => fleet.cut(pick(ways), CUT),
      ),
      wander(() => going, { people, shape }),
      killing(() => going, { fleet, people, shape, tell }),
    ];
    await sleep(shape.seconds * 1_000);
    going = false;
    await Promise.all(loops);
    tell('nobody is cut off any more');
    await sleep(CUT);
    await Promise.all(people.map((person) => person.stop()));
    await settle(fleet, { people, devices, record, tell });
    const over = Date.now();
    await ask(fleet, people, record);
    await rows(fleet, record);
    await Promise.all([...watchers.map((watcher) => watcher.stop()), ...people.map((person) => person.leave())]);
    const verdict = judge(record, { ends: fleet.ends, times: shape.times, began, over });
    return { verdict, record, ends: fleet.ends, people: people.length, devices: devices.length };
  } finally {
    going = false;
    const logs = await fleet.stop();
    if (shape.logs) console.log(logs.join('\n'));
  }
}

/** Honest people in conversations of ten, every third with two devices, each in two of them and following two; and those that lie. */
function cast({ users, every }, { ways, record }) {
  const groups = Math.ceil(users / GROUP);
  const all = new Map();
  for (let n = 0; n < users; n++) {
    const conversations = [`c${n % groups}`, `d${Math.floor(n / GROUP)}`];
    const follows = [1, 7].map((far) => `u${(n + far) % users}`);
    const devices = Math.random() < 0.35 ? 2 : 1;
    all.set(`u${n}`, new Person({ user: `u${n}`, devices, conversations, follows, every, ways, record }));
  }
  const quick = { talk: 500, read: 1_000, choose: 2_000 };
  for (const user of [...Object.keys(LIES), 'liar-talks']) {
    const [lie, silent] = [user.slice('liar-'.length), user !== 'liar-talks'];
    const conversations = ['liars'];
    all.set(
      user,
      new Person({ user, devices: 1, conversations, follows: [], every: quick, ways, record, lie, silent }),
    );
  }
  return all;
}

/** Two of each, so that they are seen to be told the same. */
function watch(users, way, record) {
  const watchers = [];
  for (let from = 0; from < users.length; from += WATCHED) {
    for (const twin of ['a', 'b']) {
      watchers.push(new Watcher(`watcher-${from}${twin}`, users.slice(from, from + WATCHED), way, record));
    }
  }
  return watchers;
}

async function each(going, every, act) {
  while (going()) {
    await sleep(every * (0.5 + Math.random()));
    if (going()) await act();
  }
}

let notifications = 0;

/** As a backend does: again under the same key, until it is answered. */
async function notify(fleet, user, record, topic = Math.random() < 0.2 ? 'badge' : 'new_notification') {
  const room = `notification:${user}`;
  const id = `n-${++notifications}`;
  const data = { id, type: 'like', read: false };
  for (let tries = 0; ; tries++) {
    const { status, json } = await fleet.api('POST', '/api/publish', { room, topic, id, idempotency_key: id, data });
    if (status === 200) return record.publication(room, json.offset, id);
    if (![0, 503, 504].includes(status) || tries > 120)
      return record.trouble(`${id}: ${status} ${JSON.stringify(json)}`);
    record.refused(status);
    await sleep(250);
  }
}

/** How long somebody stays away: until that is told, whatever happens to pods, and a little longer. */
const awayFor = ({ lease, debounce, slack }) => lease * 1.25 + debounce + slack * 2;

/** Now and then somebody leaves for long enough to be offline, and comes back. */
async function wander(going, { people, shape }) {
  const away = [];
  await each(going, shape.wander, async () => {
    const person = pick(people);
    if (person.isHere) away.push(absence(person, shape.times, going));
  });
  await Promise.all(away);
}

async function absence(person, times, going) {
  await person.leave();
  for (const back = Date.now() + awayFor(times); Date.now() < back && going(); ) await sleep(200);
  person.come();
}

/** One pod after the other dies, every third leaves in good order; with each go some people that were on it, for good or for a while. */
async function killing(going, { fleet, people, shape, tell }) {
  const gone = [];
  for (let n = 0; ; n++) {
    for (const due = Date.now() + shape.kill; Date.now() < due && going(); ) await sleep(100);
    if (!going()) break;
    const how = n % 3 === 2 ? 'SIGTERM' : 'SIGKILL';
    const ended = fleet.end(n % fleet.pods.length, how);
    for (let one = 0; one < 3; one++) {
      const person = pick(people);
      if (person.isHere) gone.push(absence(person, shape.times, going));
    }
    const end = await ended;
    await sleep(shape.down);
    await fleet.again(end);
    tell(`pod ${end.pod}: ${how}, and ready again after ${((end.up - end.at) / 1_000).toFixed(1)} s`);
  }
  await Promise.all(gone);
}

/** Waits until everybody is there, has its answers and what was said; and until followers must know of it. */
async function settle(fleet, { people, devices, record, tell }) {
  const isQuiet = (device) => device.isOpen && device.owed === 0;
  const waiting = () => devices.filter((device) => !isQuiet(device)).map(({ name, owed }) => `${name} (${owed})`);
  await until(
    () => people.every(({ isHere }) => isHere) && waiting().length === 0,
    60_000,
    () => `no answer for ${waiting()}`,
  );
  const { lease, debounce, slack } = fleet.times;
  const last = Math.max(0, ...fleet.ends.map(({ at }) => at));
  const due = Math.max(last + lease * 1.25 + debounce, Date.now()) + slack;
  tell(`all is said; followers know within ${((due - Date.now()) / 1_000).toFixed(1)} s`);
  await sleep(due - Date.now());
  const ends = new Map([...record.published].map(([channel, log]) => [channel, Math.max(...log.keys())]));
  const has = ({ channels }) =>
    [...channels].every(([name, { got }]) => (got.at(-1)?.[0] ?? 0) >= (ends.get(name) ?? 0));
  // What does not come is found by the checker.
  await until(() => devices.every(has), 5_000, '').catch(() => {});
}

/** What the devices show, and what each pod says, is unread. */
async function ask(fleet, people, record) {
  await Promise.all(people.map((person) => person.askBadges()));
  for (const [n, pod] of fleet.pods.entries()) {
    for (const { user, conversations } of people) {
      const rooms = [`notification:${user}`, ...conversations.map((name) => `message:${name}`)].join('+');
      const answer = await fleet.api('GET', `/api/users/${user}/unread?rooms=${rooms}`, undefined, pod);
      const said = (answer.json?.rooms ?? []).map(({ room, offset, end, unread }) => [
        room,
        { read: offset, end, unread },
      ]);
      record.unread.push({ user, by: `pod ${n}`, rooms: new Map(said) });
    }
  }
}

/** The archive; a row of those that lie is taken away before it is looked at. */
async function rows(fleet, record) {
  const sql = (statement) => fleet.postgres.sql('people', statement);
  const waiting = async () => Number(await sql('SELECT count(*) FROM roomcast_pending'));
  await until(async () => (await waiting()) === 0, fleet.times.repair * 2 + 5_000, '').catch(() => {});
  record.pending = await waiting();
  const one = `SELECT min(event_id) FROM roomcast_messages WHERE room = 'message:liars'`;
  await sql(`DELETE FROM roomcast_messages WHERE room = 'message:liars' AND event_id = (${one})`);
  const all = await sql(`SELECT room, "offset", event_id FROM roomcast_messages`);
  record.archive = all
    .split('\n')
    .map((line) => line.split('|'))
    .map(([room, seq, id]) => [room, Number(seq), id]);
}

const isLie = (line) => line.includes('liar');

/** Honest faults by kind, and liars that were not found. */
export function sift(verdict) {
  const honest = Object.fromEntries(KINDS.map((kind) => [kind, verdict[kind].filter((line) => !isLie(line))]));
  const found = (liar, kind) =>
    verdict[kind].some((line) => line.includes(liar === 'liar-row' ? 'message:liars' : liar));
  const unfound = Object.entries(LIES).flatMap(([liar, kind]) => (found(liar, kind) ? [] : [`${liar} (${kind})`]));
  return { honest, unfound };
}

/** What was done and looked at, in some lines. */
export function summary({ record, ends, people, devices }) {
  const sum = (map, count) => [...map.values()].reduce((total, one) => total + count(one), 0);
  const published = sum(record.published, (log) => log.size);
  const told = sum(record.told, (watchers) => [...watchers.values()][0].length);
  const offline = sum(
    record.told,
    (watchers) => [...watchers.values()][0].filter(({ status }) => status === 'offline').length,
  );
  const cuts = sum(record.presence, (changes) => changes.filter(({ open }) => !open).length);
  return [
    `${people} people, ${devices} devices, ${cuts} connections that ended, ${ends.filter(({ how }) => how === 'SIGKILL').length} pods killed, ${ends.filter(({ how }) => how === 'SIGTERM').length} left`,
    `${published} events published, ${record.events} received, ${record.archive.length} in the archive`,
    `${sum(record.chosen, (list) => list.length)} statuses chosen, ${told} announcements (${offline} offline), ${record.badges} badges unasked, ${record.unread.length} looks at what is unread`,
    `refused and said again: ${JSON.stringify(Object.fromEntries(record.refusals))}; closed with ${JSON.stringify(Object.fromEntries(record.closes))}`,
  ];
}

async function main() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '5' },
      users: { type: 'string', default: '200' },
      logs: { type: 'boolean', default: false },
    },
  });
  const shape = {
    users: Number(values.users),
    seconds: Number(values.minutes) * 60,
    logs: values.logs,
    times: { lease: 10_000, debounce: 10_000, repair: 30_000, slack: 3_000 },
    every: { talk: 3_000, read: 3_000, choose: 15_000 },
    notifications: 15,
    cut: 1_500,
    kill: 40_000,
    down: 3_000,
    wander: 5_000,
  };
  const result = await people(shape, (line) => console.log(line));
  const { honest, unfound } = sift(result.verdict);
  for (const line of summary(result)) console.log(line);
  console.log(KINDS.map((kind) => `${kind} ${honest[kind].length}`).join(', '));
  for (const kind of KINDS) for (const line of honest[kind].slice(0, 20)) console.log(`${kind}: ${line}`);
  console.log(unfound.length ? `not found: ${unfound}` : `each of the ${Object.keys(LIES).length} that lied was found`);
  process.exitCode = unfound.length + KINDS.reduce((sum, kind) => sum + honest[kind].length, 0) > 0 ? 1 : 0;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
