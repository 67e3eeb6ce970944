// What happens in a storm, turn by turn, and what of it is measured.

import { setTimeout as sleep } from 'node:timers/promises';

import { NETWORKS } from './network.js';

/** Milliseconds from when a network is back until the next one is. */
const BETWEEN_NETWORKS = 250;

/** Resolves when the weather of all ways is another one. */
const each = ({ ways }, change) => Promise.all(ways.map(change));

/** Lets that much of a storm's time pass. */
const pass = ({ haste }, ms) => sleep(ms / haste);

/** All connections are cut; the network is there, and nothing tells the clients. */
async function cut(field) {
  for (const one of field.crowd) one.wasCut();
  await each(field, (way) => way.do('cut'));
  await pass(field, 1_500);
}

/** What is sent that way is lost for a while; then the connections, which are no use any more, are cut. */
const loses = (direction) => async (field) => {
  await each(field, (way) => way.set({ lost: { up: false, down: false, [direction]: true } }));
  await pass(field, 600);
  await each(field, (way) => way.set({ lost: { up: false, down: false } }));
  await cut(field);
};

const blocks = (kind, time) => async (field) => {
  await each(field, (way) => way.do('block', kind));
  await pass(field, time);
  await each(field, (way) => way.do('block'));
};

/**
 * The networks are back, one after the other: their clients are told, and it is waited until they are, too. All clients share a processor
 * here, as no users do: those of all networks at once would wait for what the others' handshakes take of it.
 */
async function areBack(field, tell, begin = () => {}) {
  const { crowd } = field;
  const before = crowd.map(({ opened }) => opened.length);
  for (let network = 0; network < NETWORKS; network++) {
    await begin(network);
    for (const one of crowd) if (one.network === network) tell(one);
    await pass(field, BETWEEN_NETWORKS);
  }
  await field.settled('come back', ({ isOpen, isAwaited }) => isOpen && !isAwaited);
  field.back.push(...crowd.flatMap(({ opened }, at) => opened.slice(before[at])));
}

/** There is no network for a while. When it is back, the clients are told. */
async function away(field) {
  await each(field, (way) => way.set({ there: 0 }));
  await each(field, (way) => way.do('cut'));
  await pass(field, 2_000);
  const begin = (network) => each(field, (way) => way.set({ there: network + 1 }));
  await areBack(field, (one) => one.wake(), begin);
}

/** Connections die, and nothing says so, as when a phone changes its network; then the clients are told that there is one. */
async function deadSilence(field) {
  const before = new Map(field.crowd.map((one) => [one, one.client.state.connection]));
  await each(field, (way) => way.do('forget'));
  await pass(field, 500);
  await areBack(field, (one) => {
    const { kind, transport, connection } = one.client.state;
    // A long-poll is no connection: it goes on with the next one. One that came about since then is alive.
    if (kind !== 'open' || (transport !== 'poll' && connection === before.get(one))) one.wasCut();
    one.client.wake();
  });
}

/** Nothing comes through for a while, and then all of it. */
async function stall(field) {
  await each(field, (way) => way.set({ isHeld: true }));
  await pass(field, 1_000);
  await each(field, (way) => way.do('release'));
  await pass(field, 300);
}

/** A pod dies, the other one takes its clients, and it comes back. What its clients do is their attempts to connect. */
async function death(field) {
  const { ways, crowd } = field;
  const at = field.deaths.length % ways.length;
  const own = crowd.filter(({ client: { state } }) => state.kind === 'open' && ways[at].urls.includes(state.endpoint));
  const from = performance.now();
  for (const one of own) one.wasCut();
  const before = own.map(({ opened }) => opened.length);
  await field.kill(at);
  await field.settled('find the other pod', ({ isOpen, isAwaited }) => isOpen && !isAwaited);
  await pass(field, 1_000);
  const all = (await Promise.all(ways.map((way) => way.attempts()))).flat();
  const attempts = all.filter((time) => time >= from).map((time) => time - from);
  const opened = own.flatMap(({ opened }, n) => opened.slice(before[n], before[n] + 1));
  field.deaths.push({ clients: own.length, attempts: attempts.sort((one, other) => one - other), opened });
  await field.revive(at);
}

async function late(field) {
  await each(field, (way) => way.set({ delay: 40 }));
  await pass(field, 1_500);
}

async function prompt(field) {
  await each(field, (way) => way.set({ delay: 0 }));
  await pass(field, 500);
}

/** One round of a storm. */
export const TURNS = [
  ['bytes come late', late],
  ['connections are cut', cut],
  ['WebSockets are blocked', blocks('websocket', 2_000)],
  ['answers are lost', loses('down')],
  ['long-polls are blocked', blocks('poll', 1_000)],
  ['commands are lost', loses('up')],
  ['nothing comes through for a while', stall],
  ['bytes come in time', prompt],
  ['there is no network', away],
  ['connections die unnoticed', deadSilence],
  ['a pod dies', death],
];
