// The pod's own page when the network or the pod fails it, when too much comes, and as HTTP sees it.

import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { openPage, reads, row, rows } from '../support/page.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';

let pod, browser;

before(async () => {
  pod = await Pod.start({ config: rooms });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await pod?.stop();
});

async function visit(t, options, of = pod) {
  const page = await openPage(browser, of, options);
  t.after(() => page.context().close());
  return page;
}

/** A wire that can be cut: `cut(code)` closes the page's socket, and refuses new ones until `mend()`. */
function wire() {
  const self = { sockets: [], down: false, opened: [] };
  self.route = (socket) => {
    self.opened.push(Date.now());
    if (self.down) return socket.close({ code: 1013 });
    socket.connectToServer();
    self.sockets.push(socket);
  };
  self.cut = (code) => {
    self.down = true;
    return self.sockets.at(-1).close({ code });
  };
  self.mend = () => (self.down = false);
  return self;
}

test('what was missed while the connection was lost is recovered, exactly', async (t) => {
  const cable = wire();
  const page = await visit(t, { rooms: ['plain:recover'], wire: cable.route });
  await pod.publish('plain:recover', 1);
  await row(page, ({ offset }) => offset === 1, 'the first event');
  await cable.cut(4008);
  await reads(page, '#state', /^Connection lost$/);
  for (let n = 2; n <= 6; n++) await pod.publish('plain:recover', n);
  await reads(page, '#countdown', /^trying again/);
  await page.waitForSelector('#retry', { state: 'visible' });
  cable.mend();
  await page.waitForSelector('body[data-state=open]');
  await row(page, ({ offset }) => offset === 6, 'the last event');
  assert.deepEqual(
    (await rows(page)).map(({ offset, data }) => [offset, data]),
    [6, 5, 4, 3, 2, 1].map((n) => [n, `${n}`]),
  );
  await reads(page, '#events .note.good', /^plain:recover recovered/);
});

test('attempts come slower and slower', async (t) => {
  const cable = wire();
  const page = await visit(t, { wire: cable.route });
  await cable.cut(4009);
  await sleep(5_000);
  const pauses = cable.opened.slice(2).map((at, n) => at - cable.opened[n + 1]);
  assert.ok(pauses.length >= 2 && pauses.length <= 8, `${pauses.length} pauses in 5 s: ${pauses}`);
  assert.ok(pauses.at(-1) > pauses[0], `not growing: ${pauses}`);
  cable.mend();
  // At once: it comes back by itself too, and then there is nothing to click.
  await page.$eval('#retry', (button) => button.click());
  await page.waitForSelector('body[data-state=open]');
});

for (const [code, says, token] of [
  [4003, /disconnected by the backend \(4003\)/, false],
  [4002, /the token expired \(4002\)/, true],
]) {
  test(`after close code ${code} it does not come back by itself`, async (t) => {
    const cable = wire();
    const page = await visit(t, { wire: cable.route });
    await cable.cut(code);
    await reads(page, '#why', says);
    await sleep(1_500);
    assert.equal(cable.opened.length, 1);
    assert.equal(await page.isVisible('#token-value'), token, 'it asks for a token');
    cable.mend();
    await page.click('#retry');
    await page.waitForSelector('body[data-state=open]');
  });
}

test('a gap is a row of its own, and the room goes on', async (t) => {
  // The real pod's events 2 to 3, turned into the gap that would stand for them.
  const page = await visit(t, {
    rooms: ['batch:gap'],
    wire(socket) {
      const server = socket.connectToServer();
      server.onMessage((text) => {
        const { type, after, offset, epoch, room } = JSON.parse(text);
        const cut = type === 'events' && after === 1;
        socket.send(cut ? JSON.stringify({ type: 'gap', room, epoch, after, offset }) : text);
      });
    },
  });
  await pod.publish('batch:gap', 1);
  await row(page, ({ offset }) => offset === 1, 'the first event');
  await Promise.all([2, 3].map((n) => pod.publish('batch:gap', n)));
  await reads(page, '#events .note.warning', /^gap in batch:gap: 2 events will not come \(2–3\)/);
  await pod.publish('batch:gap', 4);
  await row(page, ({ offset }) => offset === 4, 'the event after the gap');
  assert.deepEqual(
    (await rows(page)).map(({ offset }) => offset),
    [4, 1],
  );
});

test('a pod that restarts is found again; rooms that it forgot say so and go on', async (t) => {
  const first = await Pod.start({ config: rooms });
  const page = await visit(t, { rooms: ['demo:restart'] }, first);
  await first.publish('demo:restart', 'before');
  await row(page, ({ data }) => data === '"before"', 'the event before');
  await first.stop();
  await page.waitForFunction(() => document.body.dataset.state !== 'open');
  const second = await Pod.start({ config: rooms, ports: first.ports });
  t.after(() => second.stop());
  await page.waitForSelector('body[data-state=open]', { timeout: 20_000 });
  await page.waitForSelector('#events .note.warning:has-text("demo:restart could not be recovered")');
  await second.publish('demo:restart', 'behind');
  await row(page, ({ data }) => data === '"behind"', 'the event behind');
});

test('a thousand events a second do not freeze it, and each is counted', async (t) => {
  let flood;
  const page = await visit(t, {
    rooms: ['flood'],
    wire(socket) {
      const server = socket.connectToServer();
      flood = (after, events) => {
        const offset = after + events.length;
        socket.send(JSON.stringify({ type: 'events', room: 'flood', epoch: flood.epoch, after, offset, events }));
      };
      server.onMessage((text) => {
        const message = JSON.parse(text);
        if (message.type === 'subscribed') flood.epoch = message.epoch;
        socket.send(text);
      });
    },
  });
  await page.evaluate(() => {
    window.frames_ = { count: 0, longest: 0, last: performance.now() };
    const frame = (now) => {
      const seen = window.frames_;
      seen.longest = Math.max(seen.longest, now - seen.last);
      Object.assign(seen, { count: seen.count + 1, last: now });
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  let sent = 0;
  const began = Date.now();
  while (sent < 4_000) {
    const due = Math.min(4_000, Date.now() - began);
    const events = Array.from({ length: due - sent }, (_, n) => ({
      offset: sent + n + 1,
      topic: 'moved',
      key: `bus-${n % 7}`,
      data: { lat: 60.17, lon: 24.94, n },
      time: Date.now(),
    }));
    if (events.length > 0) flood(sent, events);
    sent = due;
    await sleep(20);
  }
  await page.waitForFunction(() => window.roomcast.measure.totals.events === 4_000);
  const { count, longest } = await page.evaluate(() => window.frames_);
  t.diagnostic(`${count} frames in 4 s, the longest took ${Math.round(longest)} ms`);
  assert.ok(count > 60, `only ${count} frames in 4 s`);
  assert.ok(longest < 1_000, `a frame took ${longest} ms`);
  const there = await page.$$eval('#events [role=option]', (all) => all.length);
  assert.ok(there > 50 && there <= 300, `${there} rows`);
  // The newest on top, and what was not drawn is said.
  await row(page, ({ offset }) => offset === 4_000, 'the last event');
  assert.equal((await rows(page))[0].offset, 4_000);
  assert.match((await page.$$eval('.skipped', (all) => all.map(({ textContent }) => textContent))).join(), /not drawn/);
});

test('its files: types, protection, validators, HEAD, gzip, other methods', async () => {
  const at = `http://localhost:${pod.plainPort}`;
  const html = await (await fetch(at)).text();
  const css = await fetch(`${at}/page/page.css`);
  assert.match(css.headers.get('content-type'), /^text\/css; charset=utf-8$/);
  for (const [path, type] of [
    ['/', 'text/html'],
    ['/page/page.js', 'text/javascript'],
    ['/page/mark.svg', 'image/svg+xml'],
  ]) {
    const answer = await fetch(at + path);
    assert.equal(answer.status, 200);
    assert.ok(answer.headers.get('content-type').startsWith(type), path);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
    const policy = answer.headers.get('content-security-policy');
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    // Its own WebSocket, and WebTransport on the UDP port with the number of the TLS listener.
    const sources = `'self' ws://localhost:${pod.plainPort} wss://localhost:${pod.plainPort} https://127.0.0.1:${new URL(pod.tlsUrl).port}`;
    assert.ok(policy.includes(`connect-src ${sources};`), policy);
    assert.ok(policy.includes("frame-ancestors 'none'") && !policy.includes('unsafe'), policy);
    const etag = answer.headers.get('etag');
    const again = await fetch(at + path, { headers: { 'If-None-Match': `"other", ${etag}` } });
    assert.deepEqual([again.status, again.headers.get('etag'), await again.text()], [304, etag, '']);
    const length = (await answer.arrayBuffer()).byteLength;
    const head = await fetch(at + path, { method: 'HEAD', headers: { 'Accept-Encoding': 'identity' } });
    assert.deepEqual([head.status, head.headers.get('etag'), await head.text()], [200, etag, '']);
    assert.equal(Number(head.headers.get('content-length')), length, `HEAD ${path}`);
  }
  const zipped = await pod.raw('/', 'Accept-Encoding: gzip');
  assert.match(zipped.head, /content-encoding: gzip/i);
  assert.ok(zipped.body.length < html.length / 2);
  assert.equal(gunzipSync(zipped.body).toString(), html);
  const refused = await fetch(`${at}/page/page.js`, { method: 'POST' });
  assert.deepEqual([refused.status, refused.headers.get('allow')], [405, 'GET, HEAD']);
  assert.equal((await fetch(`${at}/page/../page.rs`)).status, 404);
  assert.equal((await fetch(`${at}/page/nothing.js`)).status, 404);
  // Nothing in any of it comes from elsewhere.
  const files = (await readdir(new URL('../../../src/pod/page', import.meta.url))).filter(
    (name) => name !== 'index.html',
  );
  assert.ok(files.length > 10);
  for (const path of ['/', ...files.map((name) => `/page/${name}`)]) {
    const served = await fetch(at + path);
    assert.equal(served.status, 200, `${path} is not served`);
    const text = await served.text();
    const elsewhere = [...text.matchAll(/https?:\/\/[\w.-]+/g)].map(([url]) => url);
    assert.deepEqual(
      elsewhere.filter((url) => !/^http:\/\/(localhost|www\.w3\.org)$/.test(url)),
      [],
      path,
    );
  }
});

test('the API key is not in what the page is told', async () => {
  const about = await (await fetch(`http://localhost:${pod.plainPort}/page/pod.json`)).text();
  assert.deepEqual(Object.keys(JSON.parse(about)).sort(), ['api_port', 'development', 'version']);
  assert.ok(!about.includes(Pod.key));
});

test('`page = false` takes it away, also while running', async (t) => {
  const own = await Pod.start({ config: 'page = true\n' });
  t.after(() => own.stop());
  const at = `http://localhost:${own.plainPort}`;
  assert.match((await fetch(at)).headers.get('content-type'), /^text\/html/);
  await writeFile(join(own.folder, 'roomcast.toml'), 'page = false\n');
  own.process.kill('SIGHUP');
  // Each worker takes it in by itself, and a connection that is kept stays with its worker: each question comes on its own.
  const ask = (path = '/') => fetch(at + path, { headers: { connection: 'close' } });
  const isGone = async () =>
    (await Promise.all(['/page/page.js', '/page/pod.json'].map(ask))).every(({ status }) => status === 404);
  await until(isGone, 10_000, 'the page is still there');
  await until(
    async () => (await ask()).headers.get('content-type').startsWith('text/plain'),
    10_000,
    'the page is still there',
  );
  const answer = await ask();
  assert.match(await answer.text(), /^roomcast: connect a WebSocket to \/ws/);
  assert.equal(answer.headers.get('content-security-policy'), null);
});
