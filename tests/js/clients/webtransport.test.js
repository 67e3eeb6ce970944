// WebTransport in a real Chromium without a flag for it: a page on http://localhost pins the development certificate.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { assertQuiet, openPage, reads } from '../support/page.js';
import { Pod } from '../support/pod.js';

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests';
const LATEST = '\n[[policy]]\nmatch = ["latest:*"]\ndelivery = "latest"\n';

let pod, guarded, pages, browser, page, pins;

/** What the browser needs to reach a pod. */
async function pinsOf({ plainPort }) {
  const answer = await fetch(`http://127.0.0.1:${plainPort}/certificate-hashes`);
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  return answer.json();
}

before(async () => {
  pod = await Pod.start({ config: rooms + LATEST });
  guarded = await Pod.start({ config: `anonymous = false\n[tokens]\nhmac_secrets = ["${SECRET}"]\n` });
  pages = createServer((_, answer) => {
    answer.writeHead(200, { 'Content-Type': 'text/html' });
    answer.end('<!doctype html><title>roomcast</title>');
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  pins = await pinsOf(pod);
  browser = await launch();
  page = await open('localhost');
});

after(async () => {
  await browser?.close();
  pages?.close();
  await pod?.stop();
  await guarded?.stop();
});

/** A page of that host with `join`: a client as docs/PROTOCOL.md describes it, none of the pod's own code. */
async function open(host) {
  const page = await browser.newPage();
  await page.goto(`http://${host}:${pages.address().port}/`);
  await page.evaluate(() => {
    const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    window.join = async ({ port, hashes }, target = '/wt?compression=deflate-raw') => {
      const serverCertificateHashes = hashes.map(({ algorithm, value }) => ({ algorithm, value: bytesOf(value) }));
      const transport = new WebTransport(`https://127.0.0.1:${port}${target}`, { serverCertificateHashes });
      const messages = [];
      const streams = [];
      const take = async (stream, seen) => {
        let bytes = new Uint8Array(0);
        try {
          for await (const chunk of stream) {
            bytes = new Uint8Array([...bytes, ...chunk]);
            for (;;) {
              const length = bytes.length >= 4 ? new DataView(bytes.buffer).getUint32(0) : Infinity;
              if (bytes.length < 4 + length) break;
              const message = JSON.parse(new TextDecoder().decode(bytes.slice(4, 4 + length)));
              seen.first ??= message;
              messages.push({ ...message, via: seen.name });
              bytes = bytes.slice(4 + length);
            }
          }
          seen.ended = bytes.length === 0;
        } catch (error) {
          seen.error = `${error}`;
        }
      };
      const closed = transport.closed.then(
        ({ closeCode, reason }) => ({ closeCode, reason }),
        (error) => ({ error: `${error}` }),
      );
      try {
        await transport.ready;
      } catch (error) {
        return { refused: `${error}`, closed };
      }
      const stream = await transport.createBidirectionalStream().catch(() => null);
      // It was opened to be told that it is closed.
      if (!stream) return { closed };
      const { readable, writable } = stream;
      const writer = writable.getWriter();
      take(readable, { name: 'replies' });
      (async () => {
        for await (const stream of transport.incomingUnidirectionalStreams) {
          const seen = { name: `stream ${streams.length}` };
          streams.push(seen);
          const reader = stream.getReader();
          const { value } = await reader.read();
          seen.kind = value[0];
          reader.releaseLock();
          const { readable, writable } = new TransformStream({
            start: (to) => value.length > 1 && to.enqueue(value.subarray(1)),
          });
          stream.pipeTo(writable).catch(() => {});
          take(seen.kind === 1 ? readable.pipeThrough(new DecompressionStream('deflate-raw')) : readable, seen);
        }
      })().catch(() => {});
      (async () => {
        for await (const datagram of transport.datagrams.readable) {
          const whole = new Blob([datagram, new Uint8Array([3, 0])]).stream();
          take(whole.pipeThrough(new DecompressionStream('deflate-raw')), { name: 'datagram' });
        }
      })().catch(() => {});
      const send = (message) => {
        const text = new TextEncoder().encode(JSON.stringify(message));
        const bytes = new Uint8Array(4 + text.length);
        new DataView(bytes.buffer).setUint32(0, text.length);
        bytes.set(text, 4);
        return writer.write(bytes);
      };
      const next = async (wanted) => {
        for (const deadline = Date.now() + 8000; Date.now() < deadline; ) {
          const at = messages.findIndex((message) =>
            Object.entries(wanted).every(([key, value]) => message[key] === value),
          );
          if (at >= 0) return messages.splice(at, 1)[0];
          await new Promise((woken) => setTimeout(woken, 10));
        }
        throw new Error(`no ${JSON.stringify(wanted)} in ${JSON.stringify(messages).slice(0, 500)}`);
      };
      return { transport, send, next, closed, streams };
    };
  });
  return page;
}

test('two rooms have streams of their own, compressed, and what is published arrives', async () => {
  const [welcome, joined] = await page.evaluate(async (pins) => {
    const client = (window.client = await window.join(pins));
    client.send({ type: 'subscribe', rooms: [{ room: 'open:a' }, { room: 'open:b' }] });
    const joined = [];
    for (const room of ['open:a', 'open:b']) joined.push(await client.next({ type: 'subscribed', room }));
    return [await client.next({ type: 'welcome' }), joined];
  }, pins);
  assert.equal(welcome.via, 'replies');
  assert.notEqual(joined[0].via, joined[1].via);
  const data = { text: 'Grüße, 世界 🌍 '.repeat(100) };
  await pod.publish('open:a', data);
  await pod.publish('open:b', { small: true });
  const seen = await page.evaluate(async () => {
    const { next, send, streams } = window.client;
    const [a, b] = [await next({ type: 'events', room: 'open:a' }), await next({ type: 'events', room: 'open:b' })];
    send({ type: 'publish', room: 'open:b', topic: 'up', data: [1, 2], id: 7 });
    const published = await next({ type: 'published', id: 7 });
    const own = await next({ type: 'events', room: 'open:b', offset: published.offset });
    send({ type: 'stats', id: 8 });
    return { a, b, own, stats: await next({ type: 'stats', id: 8 }), kinds: streams.map(({ kind }) => kind) };
  });
  assert.deepEqual(seen.a.events[0].data, data);
  assert.deepEqual(seen.b.events[0].data, { small: true });
  assert.deepEqual(seen.own.events[0].data, [1, 2]);
  assert.equal(seen.a.via, joined[0].via);
  assert.equal(seen.b.via, joined[1].via);
  assert.deepEqual(seen.kinds, [1, 1]);
  assert.equal(seen.stats.transport, 'webtransport');
  assert.equal(seen.stats.compression, 'deflate-raw');
});

test('a room that is left ends its stream, whole', async () => {
  const [left, stream] = await page.evaluate(async () => {
    const { next, send, streams } = window.client;
    send({ type: 'unsubscribe', room: 'open:a', id: 9 });
    const left = await next({ type: 'unsubscribed', room: 'open:a' });
    const stream = streams.find(({ first }) => first.room === 'open:a');
    for (const deadline = Date.now() + 5000; Date.now() < deadline && !stream.ended && !stream.error; ) {
      await new Promise((woken) => setTimeout(woken, 10));
    }
    return [left, stream];
  });
  assert.equal(left.id, 9);
  assert.equal(stream.error, undefined);
  assert.equal(stream.ended, true);
});

test('a room of which only the latest matters comes in datagrams, and what is too large on its stream', async () => {
  await page.evaluate(async () => {
    window.client.send({ type: 'subscribe', room: 'latest:a' });
    await window.client.next({ type: 'subscribed', room: 'latest:a' });
  });
  let via;
  for (let n = 0; n < 50 && via !== 'datagram'; n++) {
    await pod.publish('latest:a', { n });
    via = await page.evaluate(
      async () => (await window.client.next({ type: 'events', room: 'latest:a' }).catch(() => ({}))).via,
    );
  }
  assert.equal(via, 'datagram');
  const random = Array.from({ length: 3_000 }, () => Math.random().toString(36).slice(2)).join('');
  await pod.publish('latest:a', { random });
  const large = await page.evaluate(async () => {
    for (;;) {
      const message = await window.client.next({ type: 'events', room: 'latest:a' });
      if (message.events[0].data.random) return { via: message.via, length: message.events[0].data.random.length };
    }
  });
  assert.match(large.via, /^stream/);
  assert.equal(large.length, random.length);
});

test('a page that comes back recovers what it missed', async () => {
  const since = await page.evaluate(async (pins) => {
    const { transport, send, next, closed } = await window.join(pins);
    send({ type: 'subscribe', room: 'plain:page' });
    const { epoch, offset } = await next({ type: 'subscribed', room: 'plain:page' });
    transport.close();
    await closed;
    return { epoch, offset };
  }, pins);
  for (let n = 0; n < 5; n++) await pod.publish('plain:page', n);
  const [reply, data] = await page.evaluate(
    async ([pins, since]) => {
      const { send, next } = await window.join(pins);
      send({ type: 'subscribe', room: 'plain:page', since });
      const reply = await next({ type: 'subscribed' });
      const data = [];
      while (data.length < 5) data.push(...(await next({ type: 'events' })).events.map(({ data }) => data));
      return [reply, data];
    },
    [pins, since],
  );
  assert.equal(reply.recovered, true);
  assert.deepEqual(data, [0, 1, 2, 3, 4]);
});

test('the page sees why it was closed, each time', async () => {
  // Were the connection to end with the session, a few of a hundred would see "Connection lost."
  const ends = await page.evaluate(async (pins) => {
    const ends = [];
    while (ends.length < 100) {
      const { send, closed } = await window.join(pins);
      send({ type: 'x'.repeat(70_000) }).catch(() => {});
      ends.push(await closed);
    }
    return ends;
  }, pins);
  for (const ended of ends) assert.deepEqual(ended, { closeCode: 1009, reason: 'message too big' });
});

test('a bad token is told, a good one is let in', async () => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600 })}`;
  const good = `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
  const pins = await pinsOf(guarded);
  const told = await page.evaluate(
    async ([pins]) => {
      return (await window.join(pins, '/wt?token=bad')).closed;
    },
    [pins],
  );
  assert.deepEqual(told, { closeCode: 4001, reason: 'unauthorized' });
  const pong = await page.evaluate(
    async ([pins, token]) => {
      const { send, next } = await window.join(pins, `/wt?token=${token}`);
      send({ type: 'subscribe', room: 'plain:a', id: 3 });
      return next({ type: 'subscribed', id: 3 });
    },
    [pins, good],
  );
  assert.equal(pong.room, 'plain:a');
});

test('a page of another origin is refused', async () => {
  const foreign = await open('evil.localhost');
  const { refused } = await foreign.evaluate((pins) => window.join(pins).then(({ refused }) => ({ refused })), pins);
  assert.match(refused, /WebTransportError/);
  await foreign.close();
});

test("the pod's own page goes over WebTransport when asked, and back", async () => {
  const own = await openPage(browser, pod, { rooms: ['open:own'] });
  await own.click('#other-transport');
  await reads(own, '#transport', /^WebTransport$/);
  await reads(own, '#compression-more', /deflate-raw/);
  await pod.publish('open:own', { hello: 'over QUIC' });
  await own.waitForFunction(() => document.querySelector('#events')?.textContent.includes('over QUIC'));
  if (process.env.SCREENSHOT) await own.screenshot({ path: process.env.SCREENSHOT });
  await own.click('#other-transport');
  await reads(own, '#transport', /^WebSocket$/);
  await assertQuiet(own);
  await own.close();
});

test('where no session opens, the page falls back to a WebSocket by itself', async () => {
  const own = await openPage(browser, pod, { rooms: ['open:own'] });
  await own.route('**/certificate-hashes', (route) =>
    route.fulfill({ json: { ...pins, hashes: [{ algorithm: 'sha-256', value: btoa('0'.repeat(32)) }] } }),
  );
  await own.click('#other-transport');
  await own.waitForFunction(
    () => window.roomcast.client.state.kind === 'open' && window.roomcast.client.transport === 'websocket',
  );
  await reads(own, '#transport', /^WebSocket$/);
  await own.close();
});
