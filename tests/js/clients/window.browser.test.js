// One deflate window a room in a real Chromium: pages that join, leave, join other rooms and reconnect while the chain rolls see
// every event.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { chainedShare, position, windowFrames } from '../support/window.js';

const SOCKETS = 15;

let pod, browser, page;

before(async () => {
  pod = await Pod.start({ config: rooms });
  browser = await launch();
  page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pod.plainPort}/`);
  await page.evaluate(() => {
    /** A socket that keeps every event of its rooms, and says why it closed. */
    window.open_socket = async (url) => {
      const socket = new WebSocket(url, 'roomcast.v1');
      const client = { socket, events: [], closed: null };
      const waiting = [];
      socket.onclose = ({ code, reason }) => (client.closed = `${code} ${reason}`);
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'events') client.events.push(...message.events.map(({ data }) => [message.room, data]));
        else if (message.id) waiting.shift()?.(message);
      };
      await new Promise((open, failed) => ((socket.onopen = open), (socket.onerror = failed)));
      client.ask = (command) =>
        new Promise((answered) => {
          waiting.push(answered);
          socket.send(JSON.stringify({ ...command, id: 1 }));
        });
      return client;
    };
    /** Waits until each of the sockets has so many events. */
    window.have = async (clients, count) => {
      for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) {
        const closed = clients.find((client) => client.closed);
        if (closed) throw new Error(`a socket closed: ${closed.closed}`);
        if (clients.every((client) => client.events.length >= count)) return clients.map((client) => client.events);
        await new Promise((woken) => setTimeout(woken, 10));
      }
      throw new Error(`events: ${clients.map((client) => client.events.length)} of ${count}`);
    };
  });
});

after(async () => {
  await browser?.close();
  await pod?.stop();
});

const join = (many, room) =>
  page.evaluate(
    async ([url, many, room]) => {
      window.clients = await Promise.all(Array.from({ length: many }, () => window.open_socket(url)));
      for (const client of window.clients) await client.ask({ type: 'subscribe', room });
      return window.clients[0].socket.extensions;
    },
    [pod.plainUrl, many, room],
  );

const read = (count) => page.evaluate((count) => window.have(window.clients, count), count);

test('more than nine in ten deliveries of a steady room are chained', async () => {
  assert.match(await join(SOCKETS, 'open:page'), /^permessage-deflate/);
  let start;
  for (let n = 0; n < 120; n++) {
    if (n === 40) {
      await read(40);
      start = await windowFrames(pod);
    }
    await pod.publish('open:page', position(n));
  }
  const seen = await read(120);
  const expected = Array.from({ length: 120 }, (_, n) => ['open:page', position(n)]);
  for (const events of seen) assert.deepEqual(events, expected);
  const share = await chainedShare(pod, start);
  assert.ok(share > 0.9, `${share}`);
  await page.evaluate(() => {
    for (const { socket } of window.clients) socket.close();
  });
});

test('a page that joins, leaves, hears other rooms and reconnects sees every event', async () => {
  await join(SOCKETS, 'open:restless');
  const expected = Array.from({ length: SOCKETS }, () => []);
  for (let n = 0; n < 150; n++) {
    const at = n % SOCKETS;
    if (n % 3 === 0) {
      await page.evaluate(
        async ([at, kind, url]) => {
          const client = window.clients[at];
          const room = 'open:restless';
          if (kind === 0) {
            await client.ask({ type: 'unsubscribe', room });
            await client.ask({ type: 'subscribe', room });
          } else if (kind === 1) await client.ask({ type: 'subscribe', room: 'open:beside' });
          else {
            client.socket.onclose = null;
            client.socket.close();
            const next = await window.open_socket(url);
            next.events.push(...client.events);
            await next.ask({ type: 'subscribe', room });
            window.clients[at] = next;
          }
        },
        [at, (n / 3) % 3, pod.plainUrl],
      );
      if ((n / 3) % 3 === 1) expected[at].beside = true;
      if ((n / 3) % 3 === 2) expected[at].beside = false;
    }
    await pod.publish('open:restless', position(n));
    for (const list of expected) list.push(['open:restless', position(n)]);
    if (n % 10 === 9) {
      await pod.publish('open:beside', position(n));
      for (const list of expected) if (list.beside) list.push(['open:beside', position(n)]);
    }
    // All have what was said before the next thing happens.
    await page.evaluate(
      async (counts) => {
        await Promise.all(window.clients.map((client, at) => window.have([client], counts[at])));
      },
      expected.map((list) => list.length),
    );
  }
  const seen = await page.evaluate(() => window.clients.map(({ events }) => events));
  for (const [at, events] of seen.entries()) assert.deepEqual(events, [...expected[at]], `socket ${at}`);
  const { chained, independent } = await windowFrames(pod);
  assert.ok(chained > 0 && independent > 0);
});
