// One deflate window a room, read by clients that keep theirs by themselves: npm `ws`, Python's `websockets`. Those that offer
// `server_no_context_takeover` get none of it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { chainedShare, position, windowFrames } from '../support/window.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

const open = async (many, room, perMessageDeflate = true) => {
  const clients = await Promise.all(Array.from({ length: many }, () => Client.open(pod.tlsUrl, { perMessageDeflate })));
  for (const client of clients) client.from = (await client.subscribe(room)).offset;
  return clients;
};

/** Publishes events and has each client read each before the next is published. */
async function converse(clients, room, from, to) {
  for (let n = from; n < to; n++) {
    await pod.publish(room, position(n));
    for (const client of clients) {
      const [{ data, offset }] = await client.events(room, 1, client.from);
      assert.deepEqual(data, position(n));
      client.from = offset;
    }
  }
}

test('npm ws reads chained frames, and more than nine in ten are', async () => {
  const clients = await open(15, 'open:ws');
  await converse(clients, 'open:ws', 0, 30);
  const start = await windowFrames(pod);
  await converse(clients, 'open:ws', 30, 90);
  const share = await chainedShare(pod, start);
  assert.ok(share > 0.9, `${share}`);
  // One comes anew, and a reply comes between: nothing is lost on the way to the next keyframe.
  clients.push(...(await open(1, 'open:ws')));
  for (const client of clients) assert.equal((await client.request({ type: 'ping' })).type, 'pong');
  await converse(clients, 'open:ws', 90, 140);
  await Promise.all(clients.map((client) => client.close()));
});

test('npm ws with smaller windows reads them too', async () => {
  const clients = [
    ...(await open(8, 'open:bits', { serverMaxWindowBits: 10 })),
    ...(await open(8, 'open:bits', { serverMaxWindowBits: 13 })),
  ];
  const start = await windowFrames(pod);
  await converse(clients, 'open:bits', 0, 90);
  assert.ok((await windowFrames(pod)).chained - start.chained > 400);
  await Promise.all(clients.map((client) => client.close()));
});

test('a client that offers no takeover gets frames that refer to nothing', async () => {
  const clients = await open(15, 'open:alone', { serverNoContextTakeover: true });
  const start = await windowFrames(pod);
  await converse(clients, 'open:alone', 0, 50);
  assert.deepEqual(await windowFrames(pod), start);
  await Promise.all(clients.map((client) => client.close()));
});

for (const [name, offer, chained] of [
  ['by itself', {}, true],
  ['and offers no takeover', { server_no_context_takeover: true }, false],
]) {
  test(`websockets of Python ${name}`, async () => {
    const room = `open:python-${chained}`;
    const script = fileURLToPath(new URL('python_window.py', import.meta.url));
    const python = spawn(
      process.env.PYTHON ?? 'python3',
      [script, pod.tlsUrl, room, '15', '90', JSON.stringify(offer)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      const ended = once(python, 'exit');
      const lines = createInterface(python.stdout)[Symbol.asyncIterator]();
      assert.equal((await lines.next()).value, 'joined');
      const start = await windowFrames(pod);
      for (let n = 0; n < 90; n++) await pod.publish(room, position(n));
      assert.equal((await lines.next()).value, 'read');
      const now = await windowFrames(pod);
      // Of 1,350 deliveries the first 300 or so come before the window.
      if (chained) assert.ok(now.chained - start.chained > 800, JSON.stringify(now));
      else assert.deepEqual(now, start);
      assert.deepEqual(await ended, [0, null]);
    } finally {
      python.kill('SIGKILL');
    }
  });
}
