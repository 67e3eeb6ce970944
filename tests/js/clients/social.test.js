// `--preset social` with clients written from docs/PRESETS.md: npm `ws`, curl that polls, the example of the page, a backend that is told
// of users that are away; two pods over a real Redis.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

import { Pod, curl } from '../support/pod.js';
import { until } from '../support/process.js';
import { Redis } from '../support/redis.js';
import { SECRET, token } from '../support/tokens.js';

let redis, pods;

const start = (env = {}, ...args) =>
  Pod.start({
    dev: false,
    tls: false,
    env: { JWT_SECRET: SECRET, REDIS_URL: redis.url, CORS_ORIGINS: 'http://localhost:4200', ...env },
    args: ['--preset', 'social', '--drain-delay', '0ms', '--drain-window', '0ms', ...args],
  });

before(async () => {
  redis = await Redis.start();
  pods = await Promise.all([start(), start()]);
});

after(async () => {
  await Promise.all((pods ?? []).map((pod) => pod.stop()));
  await redis?.stop();
});

const rights = (...rooms) => rooms.map((room) => ({ room, rights: ['join', 'publish'] }));

/** A client: what came, what it says, what it waits for. */
async function connect(pod, user, { rooms = [], query = '', protocols = [] } = {}) {
  const signed = token(user, { rooms: rights(...rooms) });
  const ws = new WebSocket(`${pod.plainUrl}?token=${signed}${query}`, protocols);
  const messages = [];
  ws.on('message', (text) => messages.push(JSON.parse(text)));
  const closed = new Promise((told) => ws.once('close', told));
  await new Promise((open, failed) => ws.once('open', open).once('error', failed));
  const next = async (fits) => {
    const found = () => messages.findIndex(fits);
    await until(
      () => found() >= 0,
      10_000,
      () => `nothing fits among ${JSON.stringify(messages)}`,
    );
    return messages.splice(found(), 1)[0];
  };
  const client = { ws, messages, closed, signed, next, send: (message) => ws.send(JSON.stringify(message)) };
  client.event = (name) => next(({ event, type }) => event === name || type === name);
  client.enter = async (channel, since) => {
    client.send({ type: 'subscribe', channel, since });
    return next(({ event, data }) => event === 'subscribed' && data.channel === channel);
  };
  await client.event('connected');
  return client;
}

const since = (positions) => encodeURIComponent(new URLSearchParams(positions));

const notify = (pod, user, data, topic = 'new_notification') =>
  pod.publish(`notification:${user}`, data, { topic, id: data.id });

test('handshake: subprotocol, compression, tokens, origins', async () => {
  const client = await connect(pods[0], 'ann', { protocols: ['json-rpc', 'other'] });
  assert.equal(client.ws.protocol, 'json-rpc');
  assert.match(client.ws.extensions, /permessage-deflate/);
  client.ws.close();
  const status = (url, headers) =>
    new Promise((told) => {
      const ws = new WebSocket(url, { headers });
      ws.once('unexpected-response', (_, answer) => (told(answer.statusCode), ws.terminate()));
      ws.once('open', () => (told(101), ws.close()));
      ws.once('error', () => {});
    });
  const url = pods[0].plainUrl;
  assert.equal(await status(url), 401);
  assert.equal(await status(`${url}?token=x`), 401);
  assert.equal(await status(url, { Authorization: `Bearer ${token('ann')}` }), 101);
  assert.equal(await status(`${url}?token=${token('ann')}`, { Origin: 'http://evil.example' }), 403);
  assert.equal(await status(`${url}?token=${token('ann')}`, { Origin: 'http://localhost:4200' }), 101);
});

test('messages as the page has them: heartbeat, a token that is replaced, errors with codes', async () => {
  const client = await connect(pods[0], 'ann', { rooms: ['message:1'] });
  client.send({ type: 'heartbeat', id: 1, v: 1 });
  const beat = await client.event('heartbeat');
  assert.deepEqual(beat, { v: 1, type: 'heartbeat', id: 1, timestamp: beat.timestamp });
  assert.ok(Math.abs(beat.timestamp - Date.now() / 1_000) < 30, 'seconds');
  client.send({ type: 'auth', id: 2, token: token('ann') });
  assert.equal((await client.event('ack')).id, 2);
  for (const [bad, code] of [
    [{ type: 'auth', token: token('bob') }, 'unauthorized'],
    [{ type: 'subscribe' }, 'bad_request'],
    [{ type: 'subscribe', channel: 'a b' }, 'bad_room'],
    [{ type: 'subscribe', channel: 'message:2' }, 'forbidden'],
    [{ type: 'subscribe', channel: 'notification:ann', since: '7' }, 'bad_request'],
    [{ type: 'message', event: 'new_message', id: 'x', data: { conversation_id: 2, content: '' } }, 'forbidden'],
    [{ type: 'dance' }, 'unknown_command'],
  ]) {
    client.send(bad);
    assert.equal((await client.event('error')).code, code, JSON.stringify(bad));
  }
  client.ws.close();
});

test('bursts of notifications come whole and in order, as few frames', async () => {
  const client = await connect(pods[1], 'burst');
  await client.event('subscribed');
  const publications = Array.from({ length: 60 }, (_, n) => ({
    room: 'notification:burst',
    topic: 'new_notification',
    data: { id: `n-${n}`, type: 'like', read: false },
  }));
  const { status, text } = await pods[0].curl(
    '/api/broadcast',
    ...['-H', `Authorization: Bearer ${Pod.key}`, '--data-binary', JSON.stringify({ publications })],
  );
  assert.equal(status, 200, text);
  for (let n = 0; n < 60; n++) {
    const { data, seq } = await client.event('new_notification');
    assert.deepEqual([data.id, seq], [`n-${n}`, n + 1]);
  }
  client.ws.close();
});

test('the badge of one that comes is the newest that the backend has said', async () => {
  for (const unread of [3, 4]) await notify(pods[0], 'badge', { unread }, 'badge');
  await notify(pods[0], 'badge', { id: 'b-3' });
  const client = await connect(pods[1], 'badge');
  const { seq, position } = await client.event('subscribed');
  assert.equal(seq, 3);
  const badge = await client.event('badge');
  assert.deepEqual([badge.data, badge.seq], [{ unread: 4 }, 2]);
  // A client goes on behind the last position that it had: from the badge it would have the notification again.
  assert.equal(badge.position, undefined);
  client.ws.close();
  const again = await connect(pods[0], 'badge', {
    query: `&last_poll_id=${since({ 'notification:badge': position })}`,
  });
  assert.equal((await again.event('subscribed')).data.recovered, true);
  await notify(pods[0], 'badge', { id: 'b-4' });
  assert.equal((await again.next(({ channel, event }) => channel && event !== 'subscribed')).data.id, 'b-4');
  again.ws.close();
});

test('polling with curl: the same messages; sending; the history of a conversation', async () => {
  const bob = await connect(pods[1], 'bob', { rooms: ['message:p'] });
  await bob.enter('message:p');
  const bearer = ['-H', `Authorization: Bearer ${token('ann', { rooms: rights('message:p') })}`];
  const api = (pod, path, ...args) =>
    curl(`http://127.0.0.1:${pod.plainPort}/api/v1/realtime/${path}`, ...bearer, ...args);
  const poll = async (pod, last) => {
    const { status, text } = await api(pod, `poll?channel=message:p&last_poll_id=${encodeURIComponent(last)}`);
    assert.equal(status, 200, text);
    return JSON.parse(text);
  };
  const send = async (pod, message) => {
    const { status, text } = await api(pod, 'send', '--data-binary', JSON.stringify(message));
    return { status, ...JSON.parse(text) };
  };
  let { last_poll_id: last } = await poll(pods[0], '');
  const said = { type: 'message', event: 'new_message', id: 'c-1', data: { conversation_id: 'p', content: 'by curl' } };
  const stored = await send(pods[0], said);
  assert.deepEqual([stored.status, stored.events[0].type, stored.events[0].data.seq], [200, 'ack', 1]);
  assert.equal((await bob.event('new_message')).data.content, 'by curl');
  bob.send({ type: 'message', event: 'new_message', id: 'b-1', data: { conversation_id: 'p', content: 'by ws' } });
  const seen = [];
  while (seen.length < 2) {
    const news = await poll(pods[seen.length % 2], last);
    seen.push(...news.events.filter(({ event }) => event === 'new_message'));
    last = news.last_poll_id;
  }
  assert.deepEqual(
    seen.map(({ data, seq }) => [data.sender_id, data.content, seq]),
    [
      ['ann', 'by curl', 1],
      ['bob', 'by ws', 2],
    ],
  );
  // Exactly what a WebSocket is sent.
  assert.deepEqual(seen[1], await bob.event('new_message'));
  const past = await send(pods[1], { type: 'history', channel: 'message:p', limit: 1 });
  assert.deepEqual(past.events[0].data.messages, [seen[1]]);
  const kept = `http://127.0.0.1:${pods[0].plainPort}/api/v1/conversations/p/messages?limit=9`;
  const { status, text } = await curl(kept, ...bearer);
  assert.equal(status, 200, text);
  assert.deepEqual(JSON.parse(text).data.messages, seen);
  const read = await send(pods[1], { event: 'message_read', conversation_id: 'p', message_ids: ['b-1'], seq: 2 });
  assert.equal(read.events[0].type, 'ack');
  assert.deepEqual((await bob.event('read_receipt')).data, { conversation_id: 'p', reader_id: 'ann', seq: 2 });
  bob.ws.close();
});

test('the example of the page comes back by itself, to another pod, and has each message once', async () => {
  const page = readFileSync(new URL('../../../docs/PRESETS.md', import.meta.url), 'utf8');
  const example = page.split('\n## `social`\n')[1].split('```js\n')[1].split('```')[0];
  const received = [];
  const reloads = [];
  const sockets = [];
  let turn = 0;
  class Elsewhere extends WebSocket {
    constructor(url) {
      super(url.replace('wss://api.example.com', `ws://127.0.0.1:${pods[turn++ % 2].plainPort}`));
      sockets.push(this);
    }
  }
  const run = new Function('WebSocket', 'token', 'receive', 'reload', 'setTimeout', `${example}; connect();`);
  const [receive, reload] = [(message) => received.push(message), (channel) => reloads.push(channel)];
  run(Elsewhere, token('page'), receive, reload, (again) => setTimeout(again, 50));
  const ids = () => received.filter(({ event }) => event === 'new_notification').map(({ data }) => data.id);
  await until(() => received.some(({ event }) => event === 'subscribed'), 10_000, 'it does not connect');
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 5; n++) {
      await notify(pods[n % 2], 'page', { id: `p-${round}-${n}` });
      if (n === 2) sockets.at(-1).terminate();
    }
    await until(
      () => ids().length >= 5 * (round + 1),
      15_000,
      () => `${ids()}`,
    );
  }
  await sleep(300);
  const all = Array.from({ length: 25 }, (_, n) => `p-${Math.floor(n / 5)}-${n % 5}`);
  assert.deepEqual(ids(), all);
  assert.deepEqual(reloads, ['notification:page'], 'when it came for the first time');
  // It is not to come back.
  sockets.at(-1).onclose = () => {};
  sockets.at(-1).terminate();
});

test('push: the backend hears of notifications of users that are away, and decides about conversations', async () => {
  const told = [];
  const backend = createServer((request, answer) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      const question = JSON.parse(body);
      told.push({ path: request.url, authorization: request.headers.authorization, ...question });
      answer.setHeader('Content-Type', 'application/json');
      if (question.hook === 'subscribe') return answer.end(JSON.stringify({ allow: question.user !== 'eve' }));
      if (question.hook === 'publish') return answer.end(JSON.stringify({ allow: true }));
      answer.statusCode = 204;
      answer.end();
    });
  });
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
  const env = {
    BACKEND_HOOKS: `http://127.0.0.1:${backend.address().port}/hooks`,
    BACKEND_SECRET: 'a-secret-of-the-backend',
  };
  const mine = await Promise.all([start(env), start(env)]);
  try {
    const here = await connect(mine[1], 'here');
    await here.enter('message:h');
    here.send({ type: 'message', event: 'new_message', id: 'h-1', data: { conversation_id: 'h', content: 'hi' } });
    assert.equal((await here.event('ack')).id, 'h-1');
    const eve = await connect(mine[0], 'eve');
    eve.send({ type: 'subscribe', channel: 'message:h' });
    assert.equal((await eve.event('error')).code, 'forbidden');
    await notify(mine[0], 'here', { id: 'n-1' });
    await notify(mine[0], 'away', { id: 'n-2' });
    const absent = () => told.filter(({ hook }) => hook === 'absent');
    await until(
      () => absent().length > 0,
      15_000,
      () => JSON.stringify(told),
    );
    const [{ path, authorization, events }] = absent();
    assert.deepEqual([path, authorization], ['/hooks/absent', 'Bearer a-secret-of-the-backend']);
    assert.deepEqual(
      events.map(({ user, id, topic, data }) => [user, id, topic, data]),
      [['away', 'n-2', 'new_notification', undefined]],
    );
    assert.ok(told.some(({ hook, topic, user }) => hook === 'publish' && topic === 'new_message' && user === 'here'));
    here.ws.close();
    eve.ws.close();
  } finally {
    await Promise.all(mine.map((pod) => pod.stop()));
    backend.close();
  }
});

test('a pod that dies takes no message along', async () => {
  const writer = await connect(pods[1], 'writer', { rooms: ['message:k'] });
  const doomed = await start();
  const reader = await connect(doomed, 'reader', { rooms: ['message:k'] });
  await reader.enter('message:k');
  const say = async (n) => {
    writer.send({ type: 'message', event: 'new_message', id: `k-${n}`, data: { conversation_id: 'k', content: n } });
    await writer.next(({ type, id }) => type === 'ack' && id === `k-${n}`);
  };
  for (let n = 1; n <= 5; n++) await say(n);
  const last = await reader.next(({ event, seq }) => event === 'new_message' && seq === 5);
  doomed.process.kill('SIGKILL');
  await reader.closed;
  for (let n = 6; n <= 10; n++) await say(n);
  const again = await connect(pods[0], 'reader', { rooms: ['message:k'] });
  assert.equal((await again.enter('message:k', last.position)).data.recovered, true);
  for (let n = 6; n <= 10; n++) {
    const { data, seq } = await again.event('new_message');
    assert.deepEqual([data.content, seq], [n, n]);
  }
  writer.ws.close();
  again.ws.close();
});
