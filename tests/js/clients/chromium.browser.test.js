// A page in a real Chromium: joins, receives, sends, closes, and sees why it was closed.

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import tls from 'node:tls';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';

let pod, pages, browser, page;

before(async () => {
  pod = await Pod.start({ config: rooms });
  pages = createServer((_, answer) => {
    answer.writeHead(200, { 'Content-Type': 'text/html' });
    answer.end('<!doctype html><title>roomcast</title>');
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  // The pod's own key is trusted although nobody signed its certificate; any other is not.
  browser = await launch(`--ignore-certificate-errors-spki-list=${await keyHash(pod.port)}`);
  page = await browser.newPage();
  await page.goto(`http://localhost:${pages.address().port}/`);
  await page.evaluate(() => {
    /** A socket that keeps what happened to it, and waits for messages. */
    window.join = async (url, room) => {
      const socket = new WebSocket(url, 'roomcast.v1');
      const messages = [];
      let wake = () => {};
      socket.onmessage = ({ data }) => (messages.push(JSON.parse(data)), wake());
      const closed = new Promise((done) => {
        socket.onclose = ({ code, reason, wasClean }) => (done({ code, reason, wasClean }), wake());
        setTimeout(done, 10_000, 'not closed within 10 s');
      });
      const next = async (type) => {
        for (const deadline = Date.now() + 5000; Date.now() < deadline; ) {
          const at = messages.findIndex((message) => message.type === type);
          if (at >= 0) return messages.splice(at, 1)[0];
          if (socket.readyState > 1) throw new Error(`closed while waiting for ${type}`);
          await new Promise((woken) => ((wake = woken), setTimeout(woken, 100)));
        }
        throw new Error(`no ${type} within 5 s`);
      };
      const welcome = await next('welcome');
      const send = (message) => socket.send(JSON.stringify(message));
      let subscribed;
      if (room) {
        send({ type: 'subscribe', room });
        subscribed = await next('subscribed');
      }
      return { socket, send, next, closed, welcome, subscribed };
    };
  });
});

after(async () => {
  await browser?.close();
  pages?.close();
  await pod?.stop();
});

/** The SHA-256 of the public key that the pod shows, as Chromium's flag wants it. */
async function keyHash(port) {
  const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
  await new Promise((done, failed) => socket.once('secureConnect', done).once('error', failed));
  const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
  socket.destroy();
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');
}

test('permessage-deflate is negotiated, and what is published arrives', async () => {
  const opened = await page.evaluate(
    async ([url, room]) => {
      window.client = await window.join(url, room);
      const { socket, subscribed } = window.client;
      return { extensions: socket.extensions, protocol: socket.protocol, subscribed };
    },
    [pod.tlsUrl, 'open:page'],
  );
  assert.match(opened.extensions, /^permessage-deflate\b.*client_no_context_takeover/);
  assert.equal(opened.protocol, 'roomcast.v1');

  const sent = Array.from({ length: 20 }, (_, n) => ({ n, text: 'Grüße, 世界 🌍 '.repeat(n * 5) }));
  for (const data of sent) await pod.publish('open:page', data);
  const frames = await page.evaluate(async () => {
    const frames = [];
    let count = 0;
    while (count < 20) {
      const frame = await window.client.next('events');
      frames.push(frame);
      count += frame.events.length;
    }
    return frames;
  });
  let at = opened.subscribed.offset;
  for (const { after, offset } of frames) {
    assert.equal(after, at);
    at = offset;
  }
  assert.deepEqual(
    frames.flatMap(({ events }) => events).map(({ data }) => data),
    sent,
  );
});

test('its compressed uplink is understood', async () => {
  const data = { text: 'a sentence that repeats itself. '.repeat(1_000) };
  const [published, event] = await page.evaluate(async (data) => {
    const { send, next } = window.client;
    send({ type: 'publish', room: 'open:page', topic: 'up', data });
    return [await next('published'), (await next('events')).events[0]];
  }, data);
  assert.equal(event.offset, published.offset);
  assert.deepEqual(event.data, data);
});

test('the page closes: clean, answered with 1000', async () => {
  const ended = await page.evaluate(async () => {
    window.client.socket.close(4123, 'bye');
    return window.client.closed;
  });
  assert.deepEqual(ended, { code: 1000, reason: '', wasClean: true });
});

test('the page sees why it was closed', async () => {
  const ended = await page.evaluate(async (url) => {
    const { socket, closed } = await window.join(url);
    socket.send('x'.repeat(70_000));
    return closed;
  }, pod.tlsUrl);
  assert.deepEqual(ended, { code: 1009, reason: 'message too big', wasClean: true });
});

test('a page that comes back recovers what it missed', async () => {
  const since = await page.evaluate(async (url) => {
    window.client = await window.join(url, 'plain:page');
    const { epoch, offset } = window.client.subscribed;
    window.client.socket.close();
    await window.client.closed;
    return { epoch, offset };
  }, pod.tlsUrl);
  for (let n = 0; n < 5; n++) await pod.publish('plain:page', n);
  const [reply, data] = await page.evaluate(
    async ([url, since]) => {
      const { send, next, socket } = await window.join(url);
      send({ type: 'subscribe', room: 'plain:page', since });
      const reply = await next('subscribed');
      const data = [];
      while (data.length < 5) data.push(...(await next('events')).events.map(({ data }) => data));
      socket.close();
      return [reply, data];
    },
    [pod.tlsUrl, since],
  );
  assert.equal(reply.recovered, true);
  assert.deepEqual(data, [0, 1, 2, 3, 4]);
});
