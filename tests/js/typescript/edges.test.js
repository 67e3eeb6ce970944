// A client that asks a server where the edges are (`GET /edges`): which of them it takes, and that it goes on where another one dies.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { until } from '../support/process.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { edges } = await load('edges');

const PAGE = 'https://app.example.com';
let home, near, far, listed;

before(async () => {
  const [relay, ...ports] = await freePorts(7);
  const places = [ports.slice(0, 3), ports.slice(3)];
  listed = places.map(([, plain]) => `http://127.0.0.1:${plain}`);
  const list = `edges = ["near=${listed[0]}", "far=${listed[1]}/"]\n`;
  home = await Pod.start({
    config: `origins = ["${PAGE}"]\n[relay]\n${list}listen = "127.0.0.1:${relay}"\ntls = false\nkeys = "edges-key"`,
  });
  const config = `[upstream]\nurls = "ws://127.0.0.1:${relay}"\nkey = "edges-key"`;
  [near, far] = await Promise.all(places.map((ports) => Pod.start({ config, ports })));
});
after(() => Promise.all([home, near, far].map((pod) => pod?.end(30_000))));

test('a pod lists the edges that are configured, for pages that may connect', async () => {
  const ask = async (url, origin) => {
    const answer = await fetch(`${url}/edges`, { headers: origin ? { origin } : {} });
    assert.equal(answer.status, 200);
    return [await answer.json(), answer.headers];
  };
  const own = `http://127.0.0.1:${home.plainPort}`;
  const expected = {
    edges: [
      { region: 'near', url: listed[0] },
      { region: 'far', url: listed[1] },
    ],
  };
  for (const url of [own, home.internal]) assert.deepEqual((await ask(url))[0], expected);
  const [, headers] = await ask(own, PAGE);
  assert.deepEqual(
    ['access-control-allow-origin', 'cache-control', 'vary'].map((name) => headers.get(name)),
    [PAGE, 'max-age=60', 'origin'],
  );
  const [, foreign] = await ask(own, 'https://evil.example.com');
  assert.equal(foreign.get('access-control-allow-origin'), null);
  assert.deepEqual((await ask(`http://127.0.0.1:${near.plainPort}`))[0], { edges: [] });
});

test('it has the addresses of all edges, and the own one where there is no list', async () => {
  const own = `http://127.0.0.1:${home.plainPort}`;
  assert.deepEqual(await edges(`ws://127.0.0.1:${home.plainPort}/ws`), [...listed, own]);
  assert.deepEqual(await edges(listed[0]), [listed[0]], 'a list with nothing in it');
  const [nowhere] = await freePorts(1);
  assert.deepEqual(await edges(`http://127.0.0.1:${nowhere}`), [`http://127.0.0.1:${nowhere}`]);
  const answers = (json) => ({ fetch: async () => ({ json: async () => json }) });
  for (const wrong of [{}, { edges: [{ region: 'a' }] }, { edges: [{ url: 'javascript:1' }] }])
    assert.deepEqual(await edges('https://push.example.com', answers(wrong)), ['https://push.example.com']);
  const never = (_, { signal }) => new Promise((_, no) => signal.addEventListener('abort', () => no(signal.reason)));
  assert.deepEqual(await edges('https://push.example.com', { fetch: never, within: 50 }), ['https://push.example.com']);
  await assert.rejects(edges('push.example.com'), TypeError);
});

test('a client goes to one of them, and on to another one when it dies, without a loss', async (t) => {
  const client = new Client({
    url: (await edges(listed[0].replace(/\d+$/, home.plainPort))).slice(0, 2),
    transports: ['websocket'],
    WebSocket,
    storage: null,
  });
  t.after(() => client.close());
  const seen = [];
  client.subscribe('demo:1', { event: ({ data }) => seen.push(data), error: (error) => seen.push(error) });
  const open = () => client.state.kind === 'open' && client.rooms[0]?.state === 'joined';
  await until(open, 20_000, () => `it is not open: ${JSON.stringify(client.state)}`);
  const first = client.state.endpoint;
  assert.ok(listed.includes(first), first);
  for (let n = 1; n <= 5; n++) await home.publish('demo:1', n);
  await until(
    () => seen.length === 5,
    20_000,
    () => `${seen}`,
  );
  const dead = first === listed[0] ? near : far;
  dead.process.kill('SIGKILL');
  await dead.exit;
  for (let n = 6; n <= 10; n++) await home.publish('demo:1', n);
  await until(
    () => seen.length === 10,
    20_000,
    () => `${seen}, ${JSON.stringify(client.state)}`,
  );
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(
    client.state.endpoint,
    listed.find((url) => url !== first),
  );
});
