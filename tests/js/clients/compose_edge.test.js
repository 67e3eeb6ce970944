// compose.edge.yaml as processes of this machine: a home with a real Redis, a relay, an edge at the home and one behind the relay, with
// the environment that stands there. What differs: addresses, and the folder of the certificate, which the file's own command makes.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { parse } from 'yaml';

import { Client } from '../support/client.js';
import { binary } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { Process, run, status, until } from '../support/process.js';
import { Redis } from '../support/redis.js';

const file = new URL('../../../compose.edge.yaml', import.meta.url);
const { services } = parse(readFileSync(file, 'utf8'), { merge: true });
const names = Object.keys(services).filter((name) => services[name].image.startsWith('roomcast'));

let folder, redis;
/** The ports of this machine, by service and the port that it has there. */
const ports = {};
const pods = {};

function environment(name) {
  const here = (value) =>
    value
      .replaceAll('/certificates', join(folder, 'certificates'))
      .replace(/^:(\d+)$/, (_, port) => `127.0.0.1:${ports[name][port]}`)
      .replace('redis://redis:6379', redis.url)
      .replace(/^wss:\/\/([a-z-]+):(\d+)$/, (_, home, port) => `wss://localhost:${ports[home][port]}`);
  const own = Object.entries(services[name].environment).map(([key, value]) => [key, here(value)]);
  return { PATH: process.env.PATH, HOME: folder, ...Object.fromEntries(own) };
}

const start = (name) => (pods[name] = new Process(binary, ['serve'], { cwd: folder, env: environment(name) }));
const internal = (name, path) => `http://127.0.0.1:${ports[name][9000]}${path}`;

async function ready(name) {
  const said = () => `${name} was not ready; it said:\n${pods[name].log}`;
  await until(async () => pods[name].ended || (await status(internal(name, '/ready'))) === 200, 20_000, said);
  assert.ok(!pods[name].ended, said());
}

async function publish(name, room, data) {
  const answer = await fetch(internal(name, '/api/publish'), {
    method: 'POST',
    headers: { authorization: `Bearer ${services[name].environment.ROOMCAST_API_KEY}` },
    body: JSON.stringify({ room, topic: 't', data }),
  });
  assert.equal(answer.status, 200, `${name}: ${await answer.clone().text()}`);
  return answer.json();
}

/** Takes `count` events behind `from`: each once, none left out. */
async function exactly(client, room, count, from) {
  const events = await client.events(room, count, from);
  assert.deepEqual(
    events.map(({ offset }) => offset),
    Array.from({ length: count }, (_, n) => from + n + 1),
  );
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roomcast-compose-'));
  redis = await Redis.start();
  const [shell, flag] = services.certificates.entrypoint;
  const command = services.certificates.command[0].replaceAll('/certificates', join(folder, 'certificates'));
  const made = await run(shell, [flag, `mkdir -p ${folder}/certificates\n${command}`]);
  assert.equal(made.code, 0, made.stderr);
  for (const name of names) {
    const [tls, plain, own, relay] = await freePorts(4);
    ports[name] = { 8443: tls, 8080: plain, 9000: own, 9443: relay };
  }
  names.forEach(start);
  await Promise.all(names.map(ready));
});

after(async () => {
  await Promise.all(Object.values(pods).map((pod) => pod.stop()));
  await redis?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('what is published at one edge comes to the other one exactly once, whatever dies between', async () => {
  assert.deepEqual(names.sort(), ['edge-1', 'edge-2', 'home', 'relay']);
  const room = 'demo:1';
  const clients = {};
  for (const name of names) {
    clients[name] = await Client.open(`ws://127.0.0.1:${ports[name][8080]}/ws`);
    assert.equal((await clients[name].subscribe(room)).offset, 0);
  }
  for (let n = 1; n <= 20; n++) assert.equal((await publish(n % 2 ? 'edge-1' : 'edge-2', room, n)).offset, n);
  for (const name of names) await exactly(clients[name], room, 20, 0);

  // The relay dies. Its edge keeps its client, and gets what lies between once the relay is back.
  pods.relay.signal('SIGKILL');
  await pods.relay.exit;
  for (let n = 21; n <= 25; n++) await publish('edge-1', room, n);
  await exactly(clients['edge-1'], room, 5, 20);
  assert.equal(clients['edge-2'].pending.filter(({ type }) => type === 'events').length, 0);
  start('relay');
  await exactly(clients['edge-2'], room, 5, 20);
  await ready('relay');
  await until(
    async () => (await (await fetch(internal('edge-2', '/ready'))).json()).status === 'ready',
    20_000,
    () => `edge-2 has no link again; it said:\n${pods['edge-2'].log}`,
  );
  assert.equal((await publish('edge-2', room, 26)).offset, 26);
  for (const name of ['edge-1', 'edge-2', 'home']) {
    await exactly(clients[name], room, name === 'home' ? 6 : 1, name === 'home' ? 20 : 25);
    // Whatever came twice would have come before the answer to this.
    await clients[name].request({ type: 'ping' });
    assert.deepEqual(
      clients[name].pending.filter(({ type }) => type === 'events'),
      [],
      name,
    );
  }
});
