// What a real browser does to a page: it freezes its tab, keeps it for the way back, puts a service worker in between, forbids storage.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch, launchKeepingPages } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { folder } from '../support/typescript.js';

let pod, pages, browser, origin;

/** Lets everything through, as most do, and counts what went by. */
const WORKER = `
let count = 0;
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('message', ({ source }) => source.postMessage(count));
addEventListener('fetch', (event) => {
  count += 1;
  event.respondWith(fetch(event.request));
});
`;

before(async () => {
  // A frozen tab answers no ping: the pod lets go of it before it wakes.
  pod = await Pod.start({ config: `${rooms}\n[timeouts]\nping = "1s"\npong = "500ms"\n` });
  const { build } = createRequire(new URL('package.json', folder))('esbuild');
  const { outputFiles } = await build({
    stdin: {
      contents: "export * from './index.js'; export * from './commands.js';",
      resolveDir: fileURLToPath(new URL('dist/esm', folder)),
    },
    bundle: true,
    format: 'iife',
    globalName: 'roomcast',
    write: false,
  });
  const files = {
    '/client.js': ['text/javascript', outputFiles[0].text],
    '/worker.js': ['text/javascript', WORKER],
    '/other': ['text/html', '<!doctype html><title>another page</title>'],
  };
  pages = createServer(({ url }, answer) => {
    const [type, text] = files[url] ?? [
      'text/html',
      '<!doctype html><title>page</title><script src="/client.js"></script>',
    ];
    answer.setHeader('Content-Type', type);
    answer.end(text);
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  origin = `http://localhost:${pages.address().port}`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  pages?.close();
  await pod?.stop();
});

async function open(t, room, { transports = ['websocket'], init, of = browser } = {}) {
  const context = await of.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(`${error.stack}`));
  if (init) await page.addInitScript(init);
  await page.goto(`${origin}/`);
  page.begin = () =>
    page.evaluate(
      ([room, url, transports]) => {
        window.seen = [];
        window.loads = [];
        window.client = new window.roomcast.Client({ url, transports });
        window.subscription = window.client.subscribe(room, {
          load: ({ why }) => void window.loads.push(why),
          event: ({ data }) => window.seen.push(data),
        });
        return window.subscription.joined();
      },
      [room, `http://localhost:${pod.plainPort}`, transports],
    );
  return page;
}

const sees = (page, last) => page.waitForFunction((last) => window.seen.at(-1) === last, last);
const told = (page) => page.evaluate(() => [window.seen, window.loads]);

test('a tab that was frozen has missed nothing', async (t) => {
  const room = 'plain:frozen';
  const page = await open(t, room);
  await page.begin();
  await pod.publish(room, 1);
  await sees(page, 1);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  for (const n of [2, 3]) await pod.publish(room, n);
  await devtools.send('Page.setWebLifecycleState', { state: 'active' });
  await pod.publish(room, 4);
  await sees(page, 4);
  assert.deepEqual(await told(page), [[1, 2, 3, 4], ['joined']]);
  assert.deepEqual(page.errors, []);
});

test('a page that comes back from the back-forward cache goes on where it was', async (t) => {
  const room = 'plain:back';
  const keeping = await launchKeepingPages();
  t.after(() => keeping.close());
  const page = await open(t, room, { of: keeping });
  await page.begin();
  await pod.publish(room, 1);
  await sees(page, 1);
  await page.evaluate(() => {
    addEventListener('pageshow', ({ persisted }) => (window.persisted = persisted));
  });
  await page.goto(`${origin}/other`);
  for (const n of [2, 3]) await pod.publish(room, n);
  // It is the same page again, which loads nothing.
  await page.goBack({ waitUntil: 'commit' });
  await page.waitForFunction(() => window.persisted === true);
  await sees(page, 3);
  assert.deepEqual(await told(page), [[1, 2, 3], ['joined']]);
  assert.deepEqual(page.errors, []);
});

test('a service worker that is in the way of every request changes nothing', async (t) => {
  const room = 'open:worker';
  const page = await open(t, room, { transports: ['poll'] });
  await page.evaluate(async () => {
    const controlled = new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done));
    await navigator.serviceWorker.register('/worker.js');
    await controlled;
  });
  await page.begin();
  await pod.publish(room, 1);
  await sees(page, 1);
  await page.evaluate(([room]) => window.roomcast.commands(window.client).publish(room, 't', 2), [room]);
  await sees(page, 2);
  // A poll that waits is called off through the worker as well.
  await page.evaluate(() => window.client.subscribe('plain:beside').joined());
  await pod.publish(room, 3);
  await sees(page, 3);
  const count = await page.evaluate(
    () =>
      new Promise((done) => {
        navigator.serviceWorker.addEventListener('message', ({ data }) => done(data));
        navigator.serviceWorker.controller.postMessage('count');
      }),
  );
  assert.ok(count >= 4, `${count} requests went through it`);
  assert.deepEqual(await told(page), [[1, 2, 3], ['joined']]);
  assert.deepEqual(page.errors, []);
});

test('where a browser forbids storage, nothing is remembered and everything works', async (t) => {
  const room = 'plain:forbidden';
  const init = () =>
    Object.defineProperty(window, 'localStorage', {
      get() {
        throw new DOMException('denied', 'SecurityError');
      },
    });
  const page = await open(t, room, { init });
  await page.begin();
  await pod.publish(room, 1);
  await sees(page, 1);
  assert.deepEqual(page.errors, []);
});

test('a hundred clients that are made and closed leave no connection', async (t) => {
  const room = 'plain:many';
  const page = await open(t, room);
  await page.begin();
  await page.evaluate(
    async ([room, url]) => {
      for (let n = 0; n < 100; n++) {
        const client = new window.roomcast.Client({ url, transports: ['websocket'] });
        const subscription = client.subscribe(room);
        if (n % 2) await subscription.joined();
        client.close();
      }
    },
    [room, `http://localhost:${pod.plainPort}`],
  );
  const connections = async () => {
    const { text } = await pod.curl(`/api/connections?room=${room}`, '-H', `Authorization: Bearer ${Pod.key}`);
    return JSON.parse(text).connections.length;
  };
  await until(async () => (await connections()) === 1, 10_000, 'connections are left');
  assert.deepEqual(page.errors, []);
});
