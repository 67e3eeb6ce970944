// `--preset trips` with the client of its document: npm `ws` and a page in Chromium, both as printed there, `redis-cli
// PUBLISH` as the backend, and two pods.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

import { launch } from '../support/browser.js';
import { Pod, curl } from '../support/pod.js';
import { Redis } from '../support/redis.js';

let redis, a, b;

const start = (ports) =>
  Pod.start({
    dev: false,
    tls: false,
    ports,
    args: ['--preset', 'trips', '--redis', redis.url, '--drain-delay', '0ms', '--drain-window', '0ms'],
  });

before(async () => {
  redis = await Redis.start();
  [a, b] = await Promise.all([start(), start()]);
  await taken();
});

after(async () => {
  await Promise.all([a?.stop(), b?.stop()]);
  await redis?.stop();
});

/** Waits until one of the pods takes plain messages in. */
async function taken() {
  const probe = await join(b, 'probe');
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; ) {
    await publish('probe', { topic: 'trip.created', data: {} });
    if ((await probe.within(300)) !== undefined) return probe.ws.close();
  }
  throw new Error('nobody takes plain messages in');
}

const publish = (trip, event) => redis.cli('PUBLISH', `trip:${trip}`, JSON.stringify(event));

/** The client of the document. */
async function join(pod, trip_id) {
  const ws = new WebSocket(pod.plainUrl);
  const messages = [];
  let wake = () => {};
  ws.on('message', (message) => (messages.push(JSON.parse(message)), wake()));
  const closed = new Promise((closed) => ws.once('close', (code) => (closed(code), wake())));
  await new Promise((open, failed) => ws.once('open', open).once('error', failed));
  const send = (message) => ws.send(JSON.stringify(message));
  if (trip_id) {
    send({ type: 'subscribe', trip_id });
    // Nothing says that the trip was joined, as in the old server; commands are answered in order.
    await sleep(200);
  }
  const within = async (ms) => {
    for (const deadline = Date.now() + ms; ; ) {
      if (messages.length) return messages.shift();
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await Promise.race([new Promise((woken) => (wake = woken)), sleep(left)]);
    }
  };
  const next = async () => {
    const message = await within(5_000);
    assert.ok(message, 'no message within 5 s');
    return message;
  };
  return { ws, send, next, within, closed };
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

test('subscribe, an event in the documented shape on both pods, spelt as each client spelt its trip', async () => {
  const [one, two] = [await join(a, 'trip-123'), await join(b, '123')];
  await publish('123', { topic: 'poll.vote_added', data: { poll_id: '456', votes: [1, 2] } });
  for (const [client, trip_id] of [
    [one, 'trip-123'],
    [two, '123'],
  ]) {
    const message = await client.next();
    assert.deepEqual(Object.keys(message), ['type', 'events', 'timestamp']);
    assert.equal(message.type, 'events');
    assert.match(message.timestamp, rfc3339);
    const [event] = message.events;
    assert.match(event.timestamp, rfc3339);
    assert.deepEqual(event, {
      topic: 'poll.vote_added',
      data: { poll_id: '456', votes: [1, 2] },
      trip_id,
      timestamp: event.timestamp,
    });
  }
  // What the publisher says of an event is not changed, nor what nobody knows left out.
  const said = {
    topic: 'file.uploaded',
    trip_id: 'trip-123',
    timestamp: '2026-02-03T10:30:00Z',
    by: 'ann',
    data: null,
  };
  await publish('trip-123', said);
  for (const client of [one, two]) assert.deepEqual((await client.next()).events, [said]);
  one.ws.close();
  two.ws.close();
});

test('ping is answered with a time; what is no command with an error, and the connection stays', async () => {
  const client = await join(a);
  client.send({ type: 'ping' });
  const pong = await client.next();
  assert.match(pong.timestamp, rfc3339);
  assert.deepEqual(pong, { type: 'pong', timestamp: pong.timestamp });
  for (const bad of ['{', '[]', '{"type":"dance"}', '{"type":"subscribe"}', '{"type":"subscribe","trip_id":"a b"}']) {
    client.ws.send(bad);
    const error = await client.next();
    assert.equal(error.type, 'error', JSON.stringify(error));
  }
  client.ws.close();
});

test('a batch is collapsed to its newest state; all else arrives, in order', async () => {
  const client = await join(b, '7');
  const events = [];
  for (let n = 0; n < 20; n++) {
    events.push(
      ['poll.vote_added', { poll_id: 1, n }],
      ['poll.updated', { id: 2, n }],
      ['comment.created', { id: 3, n }],
    );
  }
  await redis.cli(
    'EVAL',
    events
      .map(([topic, data]) => `redis.call('PUBLISH','trip:7',[==[${JSON.stringify({ topic, data })}]==])`)
      .join('\n'),
    0,
  );
  const got = { 'poll.vote_added': [], 'poll.updated': [], 'comment.created': [] };
  const began = Date.now();
  while (got['comment.created'].length < 20) {
    for (const { topic, data } of (await client.next()).events) got[topic].push(data.n);
  }
  assert.ok(Date.now() - began < 5_000);
  assert.deepEqual(
    got['comment.created'],
    Array.from({ length: 20 }, (_, n) => n),
  );
  for (const topic of ['poll.vote_added', 'poll.updated']) {
    assert.ok(got[topic].length <= 4, `${topic}: ${got[topic]}`);
    assert.equal(got[topic].at(-1), 19);
    assert.deepEqual(
      got[topic],
      got[topic].toSorted((x, y) => x - y),
    );
  }
  client.ws.close();
});

test('who comes back, on another pod, gets the newest snapshot at once; after poll.deleted none', async () => {
  const first = await join(a, '8');
  await publish('8', { topic: 'poll.updated', data: { poll_id: 'p', n: 1 } });
  await publish('8', { topic: 'comment.created', data: { id: 'c', n: 1 } });
  await first.next();
  first.ws.close();
  await publish('8', { topic: 'poll.vote_added', data: { poll_id: 'p', n: 2 } });
  await publish('8', { topic: 'poll.created', data: { id: 'q', n: 1 } });
  await sleep(500);
  const again = await join(b, 'trip-8');
  const { type, events } = await again.next();
  assert.equal(type, 'events');
  assert.deepEqual(
    events.map(({ topic, trip_id, data }) => [topic, trip_id, data]),
    [
      ['poll.vote_added', 'trip-8', { poll_id: 'p', n: 2 }],
      ['poll.created', 'trip-8', { id: 'q', n: 1 }],
    ],
  );
  await publish('8', { topic: 'poll.deleted', data: { poll_id: 'p' } });
  assert.equal((await again.next()).events[0].topic, 'poll.deleted');
  again.send({ type: 'unsubscribe', trip_id: 'trip-8' });
  await sleep(100);
  await publish('8', { topic: 'comment.created', data: { id: 'd' } });
  assert.equal(await again.within(600), undefined, 'nothing comes of a trip that was left');
  again.send({ type: 'subscribe', trip_id: '8' });
  assert.deepEqual(
    (await again.next()).events.map(({ data }) => data),
    [{ id: 'q', n: 1 }],
  );
  again.ws.close();
});

test('unknown topics and what does not parse are counted, and reach nobody', async () => {
  const client = await join(a, '9');
  const unfit = async () => {
    const texts = await Promise.all([a, b].map(async (pod) => (await pod.curl('/metrics')).text));
    const series = /roomcast_legacy_messages_total\{result="unfit"\} (\d+)/;
    return texts.reduce((sum, text) => sum + Number(series.exec(text)?.[1] ?? 0), 0);
  };
  const before = await unfit();
  await redis.cli('PUBLISH', 'trip:9', 'no JSON');
  await publish('9', { topic: 'poll.exploded', data: {} });
  await publish('9', { data: {} });
  await publish('9', { topic: 'trip.updated', data: { id: 9 } });
  assert.deepEqual(
    (await client.next()).events.map(({ topic }) => topic),
    ['trip.updated'],
  );
  assert.equal((await unfit()) - before, 3);
  const body = JSON.stringify({ room: 'trip:9', topic: 'poll.exploded', data: 1 });
  const { status, text } = await a.post(body);
  assert.equal(status, 400, text);
  assert.match(text, /topics/);
  // What comes over the API looks the same.
  await a.publish('trip:9', { id: 1 }, { topic: 'file.deleted' });
  const [event] = (await client.next()).events;
  assert.deepEqual(event, { topic: 'file.deleted', trip_id: '9', data: { id: 1 }, timestamp: event.timestamp });
  client.ws.close();
});

test('a page in a browser, with the code of the document', async () => {
  const pages = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html>'));
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${pages.address().port}/`);
    await page.evaluate((url) => {
      window.votes = [];
      const updatePollUI = (data) => window.votes.push(data);
      const ws = new WebSocket(url);
      ws.onopen = () =>
        ws.send(
          JSON.stringify({
            type: 'subscribe',
            trip_id: 'trip-123',
          }),
        );
      ws.onmessage = (msg) => {
        const data = JSON.parse(msg.data);
        if (data.type === 'events') {
          data.events.forEach((event) => {
            switch (event.topic) {
              case 'poll.vote_added':
                updatePollUI(event.data);
                break;
            }
          });
        }
      };
    }, a.plainUrl);
    for (let n = 0; !(await page.evaluate(() => window.votes.some(({ poll_id }) => poll_id === 'browser'))); n++) {
      assert.ok(n < 50, 'no vote within 10 s');
      await publish('123', { topic: 'poll.vote_added', data: { poll_id: 'browser', votes: [] } });
      await sleep(200);
    }
  } finally {
    await browser.close();
    pages.close();
  }
});

test('a pod that dies takes nobody along: its clients come back to the other and get the newest', async () => {
  const client = await join(a, '10');
  await publish('10', { topic: 'poll.updated', data: { poll_id: 'p', n: 1 } });
  await client.next();
  a.process.kill('SIGKILL');
  await client.closed;
  const again = await join(b, '10');
  assert.deepEqual((await again.next()).events[0].data, { poll_id: 'p', n: 1 });
  // The other pod takes the plain messages over when the lease of the dead one ends.
  for (const deadline = Date.now() + 20_000; ; ) {
    await publish('10', { topic: 'poll.updated', data: { poll_id: 'p', n: 2 } });
    const message = await again.within(500);
    if (message) {
      assert.deepEqual(message.events[0].data, { poll_id: 'p', n: 2 });
      break;
    }
    assert.ok(Date.now() < deadline, 'nobody took over');
  }
  again.ws.close();
  a = await start(a.ports);
  const { status } = await curl(`${a.internal}/ready`);
  assert.equal(status, 200);
});
