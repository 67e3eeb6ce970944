// Two edges behind a balancer without sticky sessions, and no Redis anywhere: the unmodified Socket.IO client, and long-polls.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { rooms } from '../support/config.js';
import { balance } from '../support/http_balancer.js';
import { curl, Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { client, join, numbers, PATIENCE, survives, until } from '../support/room_client.js';

const KEY = 'a-key-of-edges';
const socketio = `${rooms}\n[socketio]\nenabled = true\n`;

let port, home, pods, balancer;

/** An edge; `peers` are the networks in which it finds others. */
const start = (peers = ['127.0.0.1']) => {
  const upstream = `\n[upstream]\nurls = ["ws://127.0.0.1:${port}"]\nkey = "${KEY}"\npeers = ${JSON.stringify(peers)}\n`;
  return Pod.start({ config: `${socketio}${upstream}`, args: ['--advertise', '127.0.0.1'] });
};

before(async () => {
  [port] = await freePorts(1);
  const relay = `\n[relay]\nlisten = ["127.0.0.1:${port}"]\ntls = false\nkeys = ["${KEY}"]\n`;
  home = await Pod.start({ config: `${socketio}${relay}` });
  pods = await Promise.all([start(), start()]);
  balancer = await balance(pods.map((pod) => pod.plainPort));
});

after(async () => {
  await balancer?.stop();
  await Promise.all(pods?.map((pod) => pod.stop()) ?? []);
  await home?.stop();
});

const handed = async (pod, to) => {
  const { text } = await pod.curl('/metrics');
  return Number(text.match(new RegExp(`^roomcast_engineio_handed_total\\{to="${to}"\\} (\\d+)$`, 'm'))?.[1] ?? 0);
};

for (const transports of [undefined, ['polling'], ['websocket']]) {
  const how = transports?.join(' then ') ?? 'a default client';

  test(`${how}: every request may land on any edge`, async () => {
    const sockets = await Promise.all(numbers(0, 6).map(() => client(balancer.url, transports && { transports })));
    const room = `open:${transports?.join('-') ?? 'default'}`;
    for (const socket of sockets) await join(socket, room);
    // The home and both edges publish in turn.
    for (const n of numbers(0, 30)) await [home, ...pods][n % 3].publish(room, { n });
    for (const [at, socket] of sockets.entries()) {
      const said = { room, topic: 't', data: { n: 30 + at } };
      assert.equal((await socket.timeout(PATIENCE).emitWithAck('publish', said)).type, 'published');
    }
    await until(
      () => sockets.every((socket) => socket.seen[room]?.length >= 36),
      () => `all: ${sockets.map((s) => s.seen[room]?.length)}`,
    );
    for (const socket of sockets) {
      assert.deepEqual(socket.seen[room], numbers(0, 36));
      assert.equal(socket.io.engine.transport.name, transports?.[0] ?? 'websocket');
      socket.close();
    }
    for (const pod of pods) assert.ok(balancer.counts.get(pod.plainPort) > 0);
  });
}

test('requests were handed over between the edges, and none came to nowhere', async () => {
  assert.ok((await handed(pods[0], 'pod')) > 0 && (await handed(pods[1], 'pod')) > 0);
  assert.deepEqual([await handed(pods[0], 'nowhere'), await handed(pods[1], 'nowhere')], [0, 0]);
});

for (const transports of [['polling', 'websocket'], ['polling']]) {
  test(`${transports.join(' then ')}: a session survives kill -9 of its edge, in several rooms`, () =>
    survives(transports, { start: () => start(), pods, balancer }));
}

test('a long-poll goes on where it was at any edge, and at the home', async () => {
  const room = 'plain:poll';
  const seen = [];
  let cursor = '';
  const poll = async (from) => {
    const since = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    const { status, text } = await curl(`${from}/poll?room=${room}${since}`);
    assert.equal(status, 200, text);
    const answer = JSON.parse(text);
    cursor = answer.cursor;
    for (const { type, events } of answer.messages) {
      assert.ok(['subscribed', 'events'].includes(type), text);
      seen.push(...(events ?? []).map(({ data }) => data.n));
    }
  };
  // The first one is told where the room stands, and the others what came since.
  await poll(balancer.url);
  for (const n of numbers(0, 12)) {
    await [home, ...pods][n % 3].publish(room, { n });
    while (seen.length <= n) await poll(n % 4 === 3 ? `http://127.0.0.1:${home.plainPort}` : balancer.url);
  }
  assert.deepEqual(seen, numbers(0, 12));
});

test('an edge hands nothing over to addresses outside of its peers', async () => {
  const path = '/socket.io/?EIO=4&transport=polling';
  const open = await curl(`http://127.0.0.1:${pods[0].plainPort}${path}`);
  const { sid } = JSON.parse(open.text.slice(1));
  // What it asks, it asks of the pod that has the session.
  const connect = ['--data-binary', '40', '-H', 'Content-Type: text/plain;charset=UTF-8'];
  assert.equal((await curl(`http://127.0.0.1:${pods[1].plainPort}${path}&sid=${sid}`, ...connect)).text, 'ok');
  for (const peers of [[], ['10.0.0.0/8']]) {
    const stranger = await start(peers);
    const { status, text } = await curl(`http://127.0.0.1:${stranger.plainPort}${path}&sid=${sid}`);
    assert.deepEqual([status, JSON.parse(text).code], [400, 1], 'it knows no such session');
    assert.equal(await handed(stranger, 'nowhere'), 1);
    await stranger.stop();
  }
});
