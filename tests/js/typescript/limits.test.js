// Nothing that the TypeScript client waits for may last for ever, and nothing that it began outlives its end.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { until } from '../support/process.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { explain } = await load('explain');
const { TestClock, TestPod, settled } = await load('testing');
const webtransport = await load('webtransport');

function world(options = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock });
  const client = new Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null, ...options });
  return { clock, pod, client };
}

test('a token that does not come is given up, and asked for again', async () => {
  let calls = 0;
  let hangs = true;
  const { clock, client } = world({ token: () => (++calls && hangs ? new Promise(() => {}) : 'good') });
  const subscription = client.subscribe('r');
  await clock.advance(29_999);
  // It may be slow, and is not asked twice meanwhile.
  client.wake();
  await settled();
  assert.deepEqual([client.state.kind, calls], ['connecting', 1]);
  await clock.advance(1);
  assert.match(explain(client, clock.date()), /^Not connected: .*no token: Error: too slow/);
  hangs = false;
  await clock.advance(250);
  assert.deepEqual([subscription.state, calls], ['joined', 2]);
  client.close();
});

test('a newer token that does not come in time is asked for again on the same connection', async () => {
  let calls = 0;
  const { clock, pod, client } = world({ token: () => (++calls === 2 ? new Promise(() => {}) : `good-${calls}`) });
  await client.subscribe('r').joined();
  pod.say({ type: 'refresh', expires_at: clock.date() + 60_000 });
  await clock.advance(40_000);
  assert.deepEqual([calls, client.attempts.length], [3, 1]);
  assert.deepEqual(pod.commands.at(-1).token, 'good-3');
  client.close();
});

test('a connection that never says whether it takes the token is lost, whatever interval the server named', async () => {
  const { clock, pod, client } = world({ token: 'good' });
  pod.tamper = ({ ping_interval, ...message }) => (message.type === 'welcome' ? message : undefined);
  client.connect();
  await clock.advance(19_999);
  assert.deepEqual([client.state.kind, client.attempts.length, pod.connections], ['connecting', 1, 1]);
  await clock.advance(1);
  assert.deepEqual([client.state.kind, pod.connections], ['waiting', 0]);
  pod.tamper = undefined;
  await clock.advance(250);
  assert.equal(client.state.kind, 'open');
  client.close();
});

test('a server that is slow to take the token, and alive, is waited for', async () => {
  const { clock, pod, client } = world({ token: 'good' });
  let done;
  pod.tamper = (message) => (message.type === 'done' ? void (done = message) : message);
  client.connect();
  await clock.advance(120_000);
  assert.deepEqual([client.state.kind, client.attempts.length], ['connecting', 1]);
  pod.say(done);
  await settled();
  assert.equal(client.state.kind, 'open');
  client.close();
});

test('a client whose connections are cut again and again is back within 2 s, and not within 30', async () => {
  const { clock, pod, client } = world();
  client.connect();
  await settled();
  clock.chance = 0.999;
  for (let time = 0; time < 20; time++) {
    pod.cut();
    await clock.advance(2_000);
    assert.equal(client.state.kind, 'open', `after ${time} cuts`);
  }
  client.close();
});

test('after a wake, the pauses between attempts are short again', async () => {
  const { clock, pod, client } = world();
  pod.isUp = false;
  client.connect();
  await clock.advance(600_000);
  // A network is there, and its names and routes are not.
  client.wake();
  await settled();
  pod.isUp = true;
  await clock.advance(250);
  assert.equal(client.state.kind, 'open');
  client.close();
});

test('an attempt that fails as it begins has one pause, which a wake calls off', async () => {
  const { clock, pod } = world();
  let dialled = 0;
  let isForbidden = true;
  const transport = {
    ...pod.transport,
    dial(to, on) {
      dialled += 1;
      if (isForbidden) throw new DOMException('not from this page', 'SecurityError');
      return pod.transport.dial(to, on);
    },
  };
  const client = new Client({ url: 'https://pod', transports: [transport], clock, storage: null });
  client.connect();
  await settled();
  for (let time = 0; time < 20; time++) {
    client.wake();
    await settled();
  }
  assert.equal(client.state.kind, 'waiting');
  const before = dialled;
  await clock.advance(600_000);
  assert.ok(dialled - before < 60, `${dialled - before} attempts in ten minutes`);
  isForbidden = false;
  client.wake();
  await settled();
  const { connection } = client.state;
  await clock.advance(60_000);
  assert.deepEqual([client.state.kind, client.state.connection], ['open', connection]);
  client.close();
});

test('a computer whose clock is hours ahead gets a new token now and then, and not every second', async () => {
  let calls = 0;
  const { clock, pod, client } = world({ token: () => `good-${++calls}` });
  pod.tamper = (message) => (message.type === 'done' ? { ...message, expires_at: clock.date() - 3_600_000 } : message);
  await client.subscribe('r').joined();
  await clock.advance(1_800_000);
  assert.ok(calls < 3, `${calls} tokens in half an hour`);
  assert.equal(client.attempts.length, 1);
  client.close();
});

test('what came before a wake, and is read behind it, is no sign of life', async () => {
  const { clock, pod, client } = world();
  const seen = [];
  const subscription = client.subscribe('r', { event: ({ data }) => seen.push(data) });
  await subscription.joined();
  const { connection } = client.state;
  pod.tamper = (message) => (message.type === 'pong' ? undefined : message);
  client.wake();
  pod.publish('r', 't', 1);
  await clock.advance(151);
  assert.notEqual(client.state.connection, connection);
  assert.deepEqual([client.state.kind, client.attempts.length, pod.connections], ['open', 2, 1]);
  pod.publish('r', 't', 2);
  await settled();
  assert.deepEqual(seen, [1, 2]);
  client.close();
});

test('a token that was got while the connection was dead is what the next one presents, even if it is no newer', async () => {
  let calls = 0;
  const { clock, pod, client } = world({ token: () => `good-${Math.min(++calls, 2)}` });
  const presented = () => pod.commands.filter(({ type }) => type === 'connect').map(({ token }) => token);
  await client.subscribe('r').joined();
  const dies = (message) => (message.type === 'refresh' ? message : undefined);
  pod.tamper = dies;
  pod.say({ type: 'refresh' });
  await clock.advance(1_000);
  assert.equal(calls, 2);
  pod.tamper = (message) => (message.type === 'pong' ? undefined : message);
  client.wake();
  await clock.advance(151);
  assert.deepEqual([client.state.kind, calls, ...presented()], ['open', 2, 'good-1', 'good-2']);

  pod.tamper = dies;
  pod.say({ type: 'refresh' });
  await clock.advance(1_000);
  pod.tamper = undefined;
  pod.cut(4002, 'token expired');
  await clock.advance(1_000);
  assert.deepEqual([client.state.kind, calls, ...presented().slice(2)], ['open', 4, 'good-2']);
  client.close();
});

test('a token that comes for a user who has logged out is presented by nobody', async () => {
  let calls = 0;
  let give;
  const { clock, pod, client } = world({
    token: () => (++calls === 1 ? 'good-ann' : new Promise((resolve) => (give = resolve))),
  });
  await client.subscribe('r').joined();
  pod.say({ type: 'refresh' });
  await clock.advance(1_000);
  client.authenticate('good-bob');
  give('good-ann-again');
  await clock.advance(1_000);
  const presented = pod.commands.flatMap(({ type, token }) => (/connect|refresh/.test(type) ? token : []));
  assert.deepEqual([client.state.kind, ...presented], ['open', 'good-ann', 'good-bob']);
  client.close();
});

/** A `fetch` that answers what a test says, lets all else wait, and knows what waits, and which tokens came. */
function network() {
  const answers = {};
  const waiting = new Set();
  const tokens = [];
  const fetch = (url, { signal, headers }) => {
    const path = url.replace('https://pod', '');
    tokens.push(headers?.authorization?.split(' ')[1]);
    if (answers[path])
      return Promise.resolve({ ok: true, status: 200, headers: new Map(), json: async () => answers[path] });
    const one = { path };
    waiting.add(one);
    return new Promise((_, reject) => {
      const abort = () => {
        waiting.delete(one);
        reject(signal.reason);
      };
      if (signal.aborted) abort();
      signal.addEventListener('abort', abort);
    });
  };
  return { fetch, answers, tokens, waits: () => [...waiting].map(({ path }) => path) };
}

test('over long-polls, no request outlives an attempt or a connection', async () => {
  const { fetch, answers, waits } = network();
  const { client } = world({ transports: ['poll'], fetch, clock: undefined });
  const comes = (path) =>
    until(
      () => waits().includes(path),
      5_000,
      () => `${path} is not among ${waits()}`,
    );
  client.connect();
  await comes('/poll?');
  client.close();
  assert.deepEqual(waits(), [], 'an attempt');

  answers['/poll?'] = { messages: [] };
  client.connect();
  client.subscribe('r');
  await comes('/poll?room=r');
  client.close();
  assert.deepEqual(waits(), [], 'a poll');

  client.connect();
  await until(() => client.state.kind === 'open', 5_000, 'it does not open');
  const sent = assert.rejects(commands(client).publish('r', 't', 1), { code: 'unknown' });
  await comes('/send');
  answers['/poll?'] = undefined;
  client.wake();
  await comes('/poll?');
  client.close();
  await sent;
  assert.deepEqual(waits(), [], 'a command, and the question whether the server is there');
});

test('over long-polls a command that is not answered in 15 s is sent again over another connection', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  // The code of long-polls is loaded meanwhile.
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };
  const { fetch, answers, waits } = network();
  answers['/poll?'] = { messages: [] };
  const { clock, client } = world({ transports: ['poll'], fetch });
  client.connect();
  await turns();
  const published = commands(client).publish('r', 't', 1);
  await turns();
  t.mock.timers.tick(14_999);
  assert.deepEqual([client.state.kind, waits()], ['open', ['/send']]);
  t.mock.timers.tick(1);
  await turns();
  assert.deepEqual([client.state.kind, waits()], ['waiting', []]);
  answers['/send'] = { messages: [{ type: 'published', id: 1, epoch: 'e', offset: 7 }] };
  await clock.advance(250);
  await turns();
  assert.equal((await published).offset, 7);
  client.close();
});

test('over long-polls a token is renewed before it ends, as it says itself, and the poll begins anew with it', async () => {
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };
  const { fetch, answers, tokens, waits } = network();
  answers['/poll?'] = { messages: [] };
  let calls = 0;
  const { clock, client } = world({ transports: ['poll'], fetch, token: () => token('ann', ++calls) });
  /** With a payload whose base64 has the characters of URLs. */
  function token(user, number) {
    const claims = { sub: `${user}>>>???`, exp: Math.floor(clock.date() / 1_000) + 100, number };
    return `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`;
  }
  client.connect();
  client.subscribe('r');
  await turns();
  assert.deepEqual([client.state.kind, waits(), calls], ['open', ['/poll?room=r'], 1]);
  const before = tokens.length;
  await clock.advance(79_000);
  assert.equal(calls, 1);
  await clock.advance(2_000);
  await turns();
  assert.deepEqual([client.state.kind, client.attempts.length, waits(), calls], ['open', 1, ['/poll?room=r'], 2]);
  assert.deepEqual(tokens.slice(before), [tokens.at(-1)], 'one request more');
  assert.notEqual(tokens.at(-1), tokens[0]);
  client.close();
});

test('over WebTransport, what is asked before there is a session does not outlive the attempt', async () => {
  const { fetch, waits } = network();
  const closed = [];
  const link = webtransport.dial({ endpoint: 'https://pod', means: { fetch } }, { close: (code) => closed.push(code) });
  assert.deepEqual(waits(), ['/certificate-hashes']);
  link.close();
  await settled();
  assert.deepEqual([waits(), closed], [[], []]);
});
