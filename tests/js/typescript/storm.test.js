// Many clients that publish and listen while their connections are cut, their tokens end and their WebSockets are blocked by turns:
// nothing is lost, nothing comes twice, and all see one order.
//
//   CLIENTS   how many; default 20
//   ROUNDS    how many events each publishes; default 6

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import WebSocket from 'ws';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { Balancer } from '../support/tcp_balancer.js';
import { SECRET, token } from '../support/tokens.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');

const CLIENTS = Number(process.env.CLIENTS ?? 20);
const ROUNDS = Number(process.env.ROUNDS ?? 6);
const NAMES = ['open:a', 'open:b', 'open:c'];

let pod, proxy;
let blocked = false;

class Sometimes extends WebSocket {
  constructor(url, protocols) {
    super(blocked ? 'ws://127.0.0.1:1/ws' : url, protocols);
  }
}

before(async () => {
  pod = await Pod.start({ config: `${rooms}\n[tokens]\nhmac_secrets = ["${SECRET}"]\nleeway = "1s"\n` });
  proxy = await new Balancer().listen();
  proxy.endpoints.add(pod.plainPort);
});
after(async () => {
  await proxy?.close();
  await pod?.stop();
});

/** A client in all rooms, and what it sees. */
async function join(number) {
  const seen = new Map(NAMES.map((name) => [name, []]));
  const loads = [];
  const renewed = { count: 0 };
  const client = new Client({
    url: `http://127.0.0.1:${proxy.port}`,
    transports: ['websocket', 'poll'],
    WebSocket: Sometimes,
    storage: null,
    // Longer than a publish may wait, so that a token ends in the middle of it.
    token: () => {
      renewed.count += 1;
      return token(`user-${number}`, { seconds: 2 });
    },
  });
  for (const name of NAMES) {
    const load = ({ why }) => void loads.push(why);
    client.subscribe(name, { load, event: ({ data }) => seen.get(name).push(data) });
  }
  await until(() => client.rooms.every(({ state }) => state === 'joined'), 30_000, 'it does not join');
  return { client, seen, loads, renewed, number };
}

test(`${CLIENTS} clients lose nothing, see nothing twice, and see one order`, async (t) => {
  const all = await Promise.all(Array.from({ length: CLIENTS }, (_, number) => join(number)));
  t.after(() => {
    for (const { client } of all) client.close();
  });
  const back = [];
  for (const { client } of all) {
    let gone;
    client.onState(({ kind }) => {
      if (kind === 'waiting') gone ??= performance.now();
      if (kind === 'open' && gone) back.push(performance.now() - gone);
      if (kind === 'open') gone = undefined;
    });
  }
  let weather = true;
  const storm = (async () => {
    for (let turn = 0; weather; turn++) {
      await sleep(400);
      blocked = turn % 4 === 2;
      proxy.cut();
    }
    blocked = false;
  })();
  const told = new Map(NAMES.map((name) => [name, []]));
  await Promise.all(
    all.map(async ({ client, number }) => {
      for (let round = 0; round < ROUNDS; round++) {
        const name = NAMES[(number + round) % NAMES.length];
        const data = `${number}:${round}`;
        await commands(client).publish(name, 't', data);
        told.get(name).push(data);
        await sleep(150);
      }
    }),
  );
  weather = false;
  await storm;
  const end = all[0].client;
  for (const name of NAMES) {
    const { events } = await commands(end).history(name);
    const log = events.map(({ data }) => data);
    assert.deepEqual([...log].sort(), told.get(name).sort(), 'each event is there, and once');
    for (const { seen, number } of all) {
      const own = seen.get(name);
      await until(
        () => own.length >= log.length,
        60_000,
        () => `client ${number} saw ${own.length} of ${log.length}`,
      );
      assert.deepEqual(own, log);
    }
  }
  for (const { loads, renewed } of all) {
    assert.deepEqual(loads, ['joined', 'joined', 'joined']);
    assert.ok(renewed.count > 1, 'its token was never renewed');
  }
  const sorted = back.sort((one, other) => one - other);
  const at = (part) => Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? 0);
  t.diagnostic(`${sorted.length} times back; half of them within ${at(0.5)} ms, 99 % within ${at(0.99)} ms`);
});
