// The clients of examples/go and examples/python, which are written from docs/PROTOCOL.md alone: against a real pod, through a proxy that
// cuts, past tokens that end, events that are gone and a server that gives no sign of life.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { WebSocketServer } from 'ws';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { Process, until } from '../support/process.js';
import { Balancer } from '../support/tcp_balancer.js';
import { SECRET, token } from '../support/tokens.js';

const follow = fileURLToPath(new URL('../../../examples/python/follow.py', import.meta.url));
/** The program of each, and where it takes its flags. */
const languages = {
  Go: process.env.GO_FOLLOW && [process.env.GO_FOLLOW],
  Python: [process.env.PYTHON ?? 'python3', follow],
};

/** A token ends while the test runs, and long before it would by itself. */
const TOKEN_SECONDS = 4;
const CONFIG = `${rooms}
[timeouts]
ping = "1s"
[tokens]
hmac_secrets = ["${SECRET}"]
leeway = "0s"
`;

let backend;
const fetched = new Map();

before(async () => {
  backend = createServer(({ url }, answer) => {
    fetched.set(url, (fetched.get(url) ?? 0) + 1);
    answer.end(token('ann', { seconds: TOKEN_SECONDS }));
  });
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
});
after(() => backend?.close());

/** A program that follows rooms of a pod of its own, behind a proxy of its own. */
async function world(t, language, names) {
  const pod = await Pod.start({ config: CONFIG, args: ['--anonymous=false'] });
  t.after(() => pod.stop());
  const proxy = await new Balancer().listen();
  t.after(() => proxy.close());
  proxy.endpoints.add(pod.plainPort);
  const [program, ...first] = languages[language];
  const tokens = `http://127.0.0.1:${backend.address().port}/${language}`;
  const address = `ws://127.0.0.1:${proxy.port}/ws`;
  const running = new Process(program, [...first, '--token-url', tokens, address, ...names], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.after(() => running.stop());
  const lines = () => running.log.split('\n');
  const says = (wanted, count = 1) =>
    until(
      () => lines().filter((line) => (wanted instanceof RegExp ? wanted.test(line) : line === wanted)).length >= count,
      30_000,
      () => `${language} does not say "${wanted}" ${count} times, but:\n${running.log}`,
    );
  const types = (text) => running.child.stdin.write(`${text}\n`);
  return { pod, proxy, running, lines, says, types };
}

describe('clients that are written from the protocol alone', { concurrency: 2 }, () => {
  for (const language of Object.keys(languages)) {
    test(`${language}: what is missed comes, in order and once, or is said to be missing`, async (t) => {
      if (!languages[language]) {
        console.error(`SKIPPED: there is no Go, so that nothing shows that examples/go works`);
        return t.skip('there is no Go');
      }
      const [open, short] = ['open:written', 'short:written'];
      const { pod, proxy, running, lines, says, types } = await world(t, language, [open, short]);
      await says(`incomplete ${open} joined 0`);
      await says(`incomplete ${short} joined 0`);
      await pod.publish(open, { n: 1 });
      await says(/^event open:written 1 \{"n": ?1\}$/);
      types('typed');
      await says('event open:written 2 "typed"');
      await says('published 2 "typed"');

      // A token that ends is replaced on the same connection.
      const { taken } = proxy;
      const before = fetched.get(`/${language}`);
      await until(() => fetched.get(`/${language}`) >= before + 2, 30_000, 'no newer token is fetched');
      await pod.publish(open, 3);
      await says('event open:written 3 3');
      assert.equal(proxy.taken, taken, 'it stays connected');

      // The network is away: one room's log reaches back far enough, the other's does not.
      proxy.endpoints.clear();
      proxy.cut();
      await says(/^state waiting after 1006/);
      await pod.publish(open, 4);
      for (let n = 1; n <= 10; n++) await pod.publish(short, n);
      types('while it is away');
      types('and once more');
      proxy.endpoints.add(pod.plainPort);
      await says('published 6 "and once more"');
      await says(`incomplete ${short} unrecovered 10`);
      await says('earlier short:written 10 10');

      // A pod that stands still accepts and says nothing.
      const waits = lines().filter((line) => /^state waiting/.test(line)).length;
      pod.running.signal('SIGSTOP');
      await until(
        () => lines().filter((line) => /^state waiting/.test(line)).length > waits,
        60_000,
        'it notices nothing',
      );
      pod.running.signal('SIGCONT');
      await says('state open', 3);
      await pod.publish(open, 7);
      await says('event open:written 7 7');

      const seen = lines().flatMap((line) => /^event open:written (\d+) /.exec(line)?.[1] ?? []);
      assert.deepEqual(seen.map(Number), [1, 2, 3, 4, 5, 6, 7]);
      const loaded = lines().flatMap((line) => /^earlier short:written (\d+) /.exec(line)?.[1] ?? []);
      assert.deepEqual(loaded.map(Number), [6, 7, 8, 9, 10]);

      // What the server sends away for good stays away.
      const key = ['-H', `Authorization: Bearer ${Pod.key}`];
      const { text } = await pod.curl(`/api/connections?room=${open}`, ...key);
      const [{ id }] = JSON.parse(text).connections;
      await pod.curl(`/api/connections/${id}/disconnect`, ...key, '-d', '{"code":4003}');
      assert.deepEqual(await running.exit, { code: 1, signal: null });
      await says(/^ended 4003/);
    });

    test(`${language}: one that the backend denies, or that has no token where one is needed, stays away`, async (t) => {
      if (!languages[language]) return t.skip('there is no Go');
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
      t.after(() => server.close());
      await new Promise((listening) => server.once('listening', listening));
      server.on('connection', (socket) => {
        const say = (message) => socket.send(JSON.stringify(message));
        say({ type: 'welcome', connection: 'c', ping_interval: 25_000 });
        socket.on('message', (text) => {
          const { type, id } = JSON.parse(text);
          if (type === 'connect') say({ type: 'error', id, code: 'forbidden', message: 'not today' });
          else socket.close(4001, 'unauthorized');
        });
      });
      const [program, ...first] = languages[language];
      const address = `ws://127.0.0.1:${server.address().port}/ws`;
      const tokens = ['--token-url', `http://127.0.0.1:${backend.address().port}/denied`];
      for (const [flags, ended] of [
        [tokens, /^ended 4003/m],
        [[], /^ended 4001/m],
      ]) {
        const running = new Process(program, [...first, ...flags, address, 'r'], { stdio: ['pipe', 'pipe', 'pipe'] });
        t.after(() => running.stop());
        assert.deepEqual(await running.exit, { code: 1, signal: null });
        assert.match(running.log, ended);
      }
    });

    test(`${language}: a room that is refused is said to be, and harms no other`, async (t) => {
      if (!languages[language]) return t.skip('there is no Go');
      const { pod, says } = await world(t, language, ['plain:good', 'closed:written']);
      await says('incomplete closed:written forbidden -');
      await says('incomplete plain:good joined 0');
      await pod.publish('plain:good', 1);
      await says('event plain:good 1 1');
    });
  }
});
