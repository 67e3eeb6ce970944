// Long-polls and event streams: curl, and a page in a real Chromium with EventSource and fetch.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { curl, Pod } from '../support/pod.js';

let pod, pages, browser, page, base;

before(async () => {
  pod = await Pod.start({ config: rooms });
  base = `http://127.0.0.1:${pod.plainPort}`;
  pages = createServer((_, answer) => {
    answer.writeHead(200, { 'Content-Type': 'text/html' });
    answer.end('<!doctype html><title>roomcast</title>');
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  browser = await launch();
  page = await browser.newPage();
  await page.goto(`http://localhost:${pages.address().port}/`);
});

after(async () => {
  await browser?.close();
  pages?.close();
  await pod?.stop();
});

test('curl polls, and goes on where it was', async () => {
  await pod.publish('plain:poll', 1);
  const first = JSON.parse((await curl(`${base}/poll?room=plain:poll`)).text);
  assert.equal(first.messages[0].type, 'subscribed');
  const next = `${base}/poll?room=plain:poll&cursor=${encodeURIComponent(first.cursor)}`;
  const waiting = curl(next);
  await pod.publish('plain:poll', 2);
  const answer = JSON.parse((await waiting).text);
  assert.deepEqual(
    answer.messages[1].events.map(({ data }) => data),
    [2],
  );
  const { epoch } = first.messages[0];
  const since = JSON.parse((await curl(`${base}/poll?room=plain:poll&since=${epoch}:0`)).text);
  assert.deepEqual(
    since.messages[1].events.map(({ data }) => data),
    [1, 2],
  );
  const bad = await curl(`${base}/poll?room=a%7Bb`);
  assert.equal(bad.status, 400);
  assert.equal(JSON.parse(bad.text).error.code, 'bad_request');
});

test('curl reads an event stream', async () => {
  const reading = curl(`${base}/events?room=plain:stream`, '--no-buffer', '--max-time', '2');
  await new Promise((later) => setTimeout(later, 500));
  await pod.publish('plain:stream', 'hello');
  const { text } = await reading.catch(({ stdout }) => ({ text: stdout }));
  assert.match(text, /^retry: \d+\n\n/);
  assert.match(text, /id: plain%3Astream=\S+:1\ndata: \{"type":"events",.*"data":"hello".*\}\n\n/);
});

test('a page polls from another origin', async () => {
  const run = page.evaluate(async (base) => {
    const poll = async (cursor) => {
      const query = new URLSearchParams({ room: 'plain:page' });
      if (cursor) query.set('cursor', cursor);
      // A header of its own makes the browser ask first.
      const answer = await fetch(`${base}/poll?${query}`, { headers: { 'Last-Event-ID': '' } });
      return answer.json();
    };
    let answer = await poll();
    const seen = [];
    while (seen.length < 5) {
      answer = await poll(answer.cursor);
      for (const { events = [] } of answer.messages) seen.push(...events.map(({ data }) => data));
    }
    const refused = await fetch(`${base}/poll?room=`);
    return { seen, refused: [refused.status, (await refused.json()).error.code] };
  }, base);
  await new Promise((later) => setTimeout(later, 500));
  for (let n = 1; n <= 5; n++) await pod.publish('plain:page', n);
  assert.deepEqual(await run, { seen: [1, 2, 3, 4, 5], refused: [400, 'bad_request'] });
});

test("a page's EventSource comes back to a pod that was started again elsewhere, and says where it was", async () => {
  // A balancer that the test can cut: each request goes to the pod; cutting ends what is under way.
  const { default: http } = await import('node:http');
  const asked = [];
  const balancer = createServer((request, answer) => {
    asked.push(request.headers['last-event-id']);
    const { host, ...headers } = request.headers;
    const on = http.request(`${base}${request.url}`, { method: request.method, headers }, (from) => {
      answer.writeHead(from.statusCode, from.headers);
      from.pipe(answer);
      answer.on('close', () => from.destroy());
    });
    on.on('error', () => answer.destroy());
    on.end();
  });
  await new Promise((listening) => balancer.listen(0, '127.0.0.1', listening));
  try {
    await page.evaluate((url) => {
      window.seen = [];
      window.source = new EventSource(url);
      window.source.onmessage = ({ data }) => window.seen.push(JSON.parse(data));
    }, `http://127.0.0.1:${balancer.address().port}/events?room=plain:source&room=plain:other`);
    const data = () =>
      page.evaluate(() =>
        window.seen.filter(({ type }) => type === 'events').flatMap(({ events }) => events.map(({ data }) => data)),
      );
    const until = async (count) => {
      for (const deadline = Date.now() + 15_000; Date.now() < deadline; ) {
        if ((await data()).length >= count) return;
        await new Promise((later) => setTimeout(later, 50));
      }
      assert.fail(`${JSON.stringify(await data())} instead of ${count} events`);
    };
    await page.waitForFunction(() => window.seen.filter(({ type }) => type === 'subscribed').length === 2);
    await pod.publish('plain:source', 1);
    await pod.publish('plain:other', 2);
    await until(2);
    balancer.closeAllConnections();
    for (const n of [3, 4, 5]) await pod.publish(n % 2 ? 'plain:source' : 'plain:other', n);
    await until(5);
    assert.deepEqual((await data()).sort(), [1, 2, 3, 4, 5], 'each once');
    assert.equal(asked.length, 2);
    assert.match(asked[1], /plain%3Asource=\S+:1/);
    const resets = await page.evaluate(
      () => window.seen.filter(({ type, recovered }) => type === 'subscribed' && recovered).length,
    );
    assert.equal(resets, 2);
  } finally {
    await page.evaluate(() => window.source?.close());
    balancer.closeAllConnections();
    balancer.close();
  }
});
