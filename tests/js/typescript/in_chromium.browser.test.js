// The TypeScript client in a real Chromium, on a page of another origin: each transport, a cut, and a network that is back.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { Balancer } from '../support/tcp_balancer.js';
import { SECRET, token } from '../support/tokens.js';
import { folder } from '../support/typescript.js';

const LATEST = '\n[[policy]]\nmatch = ["latest:*"]\ndelivery = "latest"\n';

let pod, guarded, proxy, pages, browser;

before(async () => {
  pod = await Pod.start({ config: rooms + LATEST });
  guarded = await Pod.start({ config: `anonymous = false\n[tokens]\nhmac_secrets = ["${SECRET}"]\n` });
  proxy = await new Balancer().listen();
  proxy.endpoints.add(pod.plainPort);
  const { build } = createRequire(new URL('package.json', folder))('esbuild');
  const { outputFiles } = await build({
    stdin: {
      contents: "export * from './index.js'; export * from './commands.js'; export * from './tabs.js';",
      resolveDir: fileURLToPath(new URL('dist/esm', folder)),
    },
    bundle: true,
    format: 'iife',
    globalName: 'roomcast',
    write: false,
  });
  pages = createServer(({ url }, answer) => {
    answer.setHeader('Content-Type', url === '/client.js' ? 'text/javascript' : 'text/html');
    answer.end(
      url === '/client.js'
        ? outputFiles[0].text
        : '<!doctype html><title>page</title><script src="/client.js"></script>',
    );
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  pages?.close();
  await proxy?.close();
  await Promise.all([pod?.stop(), guarded?.stop()]);
});

/** A page with a client that follows a room: `tabs`, in the context of others, with one connection for all of them. */
async function open(t, room, options, tabs) {
  const context = tabs ?? (await browser.newContext());
  if (!tabs) t.after(() => context.close());
  const page = await context.newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(`${error.stack}`));
  await page.goto(`http://localhost:${pages.address().port}/`);
  await page.evaluate(
    ([room, options, shares]) => {
      window.seen = [];
      window.loads = [];
      const transports = shares ? window.roomcast.tabs('', options.transports) : options.transports;
      window.client = new window.roomcast.Client({ ...options, transports });
      window.subscription = window.client.subscribe(room, {
        load: ({ why }) => void window.loads.push(why),
        event: ({ data }) => window.seen.push(data),
      });
    },
    [room, options, tabs !== undefined],
  );
  await page.evaluate(() => window.subscription.joined());
  return page;
}

const state = (page) => page.evaluate(() => window.client.state);
const sees = (page, last) => page.waitForFunction((last) => window.seen.at(-1) === last, last);
const openAgain = (page, before) =>
  page.waitForFunction(
    ({ connection }) => window.client.state.kind === 'open' && window.client.state.connection !== connection,
    before,
  );

test('by itself it takes WebTransport, and recovers what a cut has missed', async (t) => {
  const page = await open(t, 'open:quic', { url: `http://localhost:${pod.plainPort}` });
  const before = await state(page);
  assert.equal(before.transport, 'webtransport');
  await page.evaluate(() => window.roomcast.commands(window.client).publish('open:quic', 't', 1));
  await pod.publish('open:quic', 2);
  await sees(page, 2);
  const order = `/api/connections/${before.connection}/disconnect`;
  const { status } = await pod.curl(order, '-H', `Authorization: Bearer ${Pod.key}`, '-d', '{"code":1012}');
  assert.equal(status, 200);
  await pod.publish('open:quic', 3);
  // The server wants it later; the application wants it now.
  await page.waitForFunction(({ connection }) => window.client.state.connection !== connection, before);
  await page.evaluate(() => window.client.connect());
  await openAgain(page, before);
  await pod.publish('open:quic', 4);
  await sees(page, 4);
  assert.deepEqual(await page.evaluate(() => [window.seen, window.loads]), [[1, 2, 3, 4], ['joined']]);
  assert.deepEqual(page.errors, []);
});

test('over WebTransport too, a token is presented, and one that is refused ends the client', async (t) => {
  const url = `http://localhost:${guarded.plainPort}`;
  const page = await open(t, 'plain:token', { url, token: token('ann') });
  assert.equal((await state(page)).transport, 'webtransport');
  await guarded.publish('plain:token', 1);
  await sees(page, 1);
  const code = await page.evaluate(
    ([url]) =>
      new Promise((told) => {
        const refused = new window.roomcast.Client({ url, token: 'bad', transports: ['webtransport'] });
        refused.onState(({ kind, error }) => kind === 'closed' && told(error.code));
        refused.connect();
      }),
    [url],
  );
  assert.equal(code, 'unauthorized');
});

test('events that come as datagrams arrive', async (t) => {
  const page = await open(t, 'latest:quic', { url: `http://localhost:${pod.plainPort}` });
  assert.equal((await state(page)).transport, 'webtransport');
  // A datagram may be lost, and a newer one counts.
  let n = 0;
  await until(
    async () => {
      await pod.publish('latest:quic', ++n);
      return page.evaluate(() => window.seen.length >= 3);
    },
    20_000,
    'no datagrams come',
  );
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(
    seen,
    [...new Set(seen)].sort((one, two) => one - two),
  );
});

for (const transport of ['websocket', 'poll']) {
  test(`over ${transport} a page is back at once when its network is`, async (t) => {
    const url = `http://localhost:${proxy.port}`;
    const page = await open(t, `plain:${transport}`, { url, transports: [transport] });
    await pod.publish(`plain:${transport}`, 1);
    await sees(page, 1);
    proxy.endpoints.clear();
    proxy.cut();
    await page.waitForFunction(() => window.client.state.kind === 'waiting' && window.client.attempts.length > 2);
    await pod.publish(`plain:${transport}`, 2);
    proxy.endpoints.add(pod.plainPort);
    const kinds = await page.evaluate(() => {
      const kinds = [];
      window.client.onState(({ kind }) => kinds.push(kind));
      window.dispatchEvent(new Event('online'));
      return kinds;
    });
    // At once, unless it was just trying by itself.
    assert.ok(kinds.length === 0 || kinds[0] === 'connecting', `${kinds}`);
    await sees(page, 2);
    assert.deepEqual(await page.evaluate(() => [window.seen, window.loads]), [[1, 2], ['joined']]);
    assert.deepEqual(page.errors, []);
  });
}

test('where a proxy lets no WebSocket pass, long-polls do, and the choice is remembered', async (t) => {
  const options = { url: `http://localhost:${pod.plainPort}`, transports: ['websocket', 'poll'] };
  const page = await open(t, 'plain:first', options);
  assert.equal((await state(page)).transport, 'websocket');
  const remembered = await page.evaluate((key) => localStorage.getItem(key), `roomcast:${options.url}`);
  assert.match(remembered, new RegExp(`^websocket ${options.url} \\d+$`));
  await page.evaluate(
    ([options]) => {
      window.client.close();
      // As where a WebSocket cannot be opened at all.
      window.WebSocket = class {
        constructor() {
          throw new Error('blocked');
        }
      };
      window.client = new window.roomcast.Client(options);
      return window.client.subscribe('plain:second').joined();
    },
    [options],
  );
  assert.equal((await state(page)).transport, 'poll');
});

test('all tabs have one connection, and lose nothing when the one that leads is closed', async (t) => {
  const room = 'open:tabs';
  const context = await browser.newContext();
  t.after(() => context.close());
  const options = { url: `http://localhost:${pod.plainPort}`, transports: ['websocket'] };
  const members = async () => {
    const { text } = await pod.curl(`/api/connections?room=${room}`, '-H', `Authorization: Bearer ${Pod.key}`);
    return JSON.parse(text).connections.length;
  };
  const pages = [];
  for (let n = 0; n < 3; n++) pages.push(await open(t, room, options, context));
  assert.equal(await members(), 1);
  await pod.publish(room, 1);
  await Promise.all(pages.map((page) => sees(page, 1)));
  await pages[2].evaluate(([room]) => window.roomcast.commands(window.client).publish(room, 't', 2), [room]);
  await Promise.all(pages.map((page) => sees(page, 2)));
  // The first one leads. What it still passes on while it closes may be the next event: a command waits for the next one that leads.
  const before = await state(pages[0]);
  await pages.shift().close();
  await pod.publish(room, 3);
  await Promise.all(pages.map((page) => sees(page, 3)));
  await Promise.all(pages.map((page) => openAgain(page, before)));
  await pages[1].evaluate(([room]) => window.roomcast.commands(window.client).publish(room, 't', 4), [room]);
  await Promise.all(pages.map((page) => sees(page, 4)));
  await until(async () => (await members()) === 1, 10_000, 'there is not one connection');
  for (const page of pages) {
    assert.deepEqual(await page.evaluate(() => [window.seen, window.loads]), [[1, 2, 3, 4], ['joined']]);
    assert.deepEqual(page.errors, []);
  }
});
