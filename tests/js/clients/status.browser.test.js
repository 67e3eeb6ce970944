// The page at /status, used in a real Chromium as an operator would: under load, with a limit that refuses, without an answer, by keyboard,
// on small screens. Leaves screenshots in the target folder for people to look at.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { faint, nameless } from '../support/looks.js';
import { assertQuiet, reads, watch } from '../support/page.js';
import { Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';

const pictures = join(dirname(process.env.TEST_POD), '..', 'page-pictures');
let pod, browser;

before(async () => {
  await mkdir(pictures, { recursive: true });
  pod = await Pod.start({ config: `max_connections = 3\n${rooms}` });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await pod?.stop();
});

async function visit(t, options = {}, of = pod) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  t.after(() => context.close());
  const page = await watch(await context.newPage());
  await page.goto(`${of.internal}/status`);
  await page.waitForFunction(() => document.body.dataset.state !== 'idle');
  return page;
}

/** Clients in a room and a publisher, until the test ends. */
async function load(t, clients) {
  const all = [];
  for (let n = 0; n < clients; n++) {
    const client = await Client.open(pod.plainUrl);
    all.push(client);
    await client.subscribe('plain:load');
  }
  let going = true;
  const publishing = (async () => {
    while (going) await pod.publish('plain:load', { text: 'so much of it that it is compressed '.repeat(8) });
  })();
  t.after(async () => {
    going = false;
    await publishing;
    await Promise.all(all.map((client) => client.close()));
  });
}

test('it shows what the pod does, live, and talks to its own listener only', async (t) => {
  const page = await visit(t);
  await reads(page, '#state', /^Ready$/);
  await reads(page, '#no-redis', /there is no Redis/);
  await load(t, 2);
  await reads(page, '#carried tbody', /WebSocketnative2/);
  await reads(page, '#connections', /^2$/);
  await reads(page, '#rooms', /^1$/);
  await reads(page, '#deliveries', /^[1-9]/);
  await reads(page, '#p99', /^[\d.]+ m?s$/);
  await reads(page, '#pods tbody', /\(this one\)ready2/);
  assert.equal(await page.$eval('#limits tbody', (body) => body.rows.length), 10);
  await reads(page, '#limits-more', /none refuses/);
  const drawn = await page.$$eval('canvas', (all) =>
    all.map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value > 0);
    }),
  );
  assert.deepEqual(drawn, [true, true, true, true]);
  const hosts = new Set(page.requested.map((url) => new URL(url).host));
  assert.deepEqual([...hosts], [new URL(pod.internal).host], 'a request left the internal listener');
  await assertQuiet(page);
});

test('a page that was just opened shows the minutes before, and a limit that refuses is said', async (t) => {
  await load(t, 3);
  assert.equal((await fetch(`http://127.0.0.1:${pod.plainPort}/poll?room=plain%3Aload`)).status, 503);
  const page = await visit(t);
  await reads(page, '#state', /^Overloaded$/);
  await reads(page, '#why', /as many connections as it may/);
  await reads(page, '#limits tbody', /Connections33\d*refuses/);
  await reads(page, '#announcements', /^Overloaded: /);
  const asked = await page.request.get(`${pod.internal}/status.json`);
  assert.ok((await asked.json()).moments.length >= 1);
  await assertQuiet(page);
});

test('a pod that does not answer is said to be gone, and is found again', async (t) => {
  const page = await visit(t);
  await page.route('**/status.json*', (route) => route.abort());
  await reads(page, '#state', /^No answer$/);
  assert.equal(await page.getAttribute('body', 'data-state'), 'gone');
  await page.unroute('**/status.json*');
  await page.waitForFunction(() => document.body.dataset.state !== 'gone');
});

test('an edge shows the link to its home and since when it is down, and the home shows its edge', async (t) => {
  const [port, nowhere] = await freePorts(2);
  const home = await Pod.start({ config: `[relay]\nlisten = "127.0.0.1:${port}"\ntls = false\nkeys = "edges-key"` });
  t.after(() => home.stop());
  const urls = [port, nowhere].map((port) => `"ws://127.0.0.1:${port}"`).join(', ');
  const edge = await Pod.start({ config: `[upstream]\nurls = [${urls}]\nkey = "edges-key"` });
  t.after(() => edge.stop());
  const client = await Client.open(edge.plainUrl);
  t.after(() => client.close());
  await client.subscribe('a');
  const [below, above] = [await visit(t, {}, edge), await visit(t, {}, home)];
  await reads(below, '#role', /^edge$/);
  await reads(below, '#tree-more', /^above it: [0-9a-f]{16}$/);
  await reads(below, '#links tbody', new RegExp(`127\\.0\\.0\\.1:${port}stands, and leads\\d+:\\d\\d[01]`));
  await reads(below, '#links tbody', new RegExp(`127\\.0\\.0\\.1:${nowhere}down: .*refused`));
  assert.ok(await below.$eval('#edges-some', ({ hidden }) => hidden));
  await reads(above, '#role', /^home$/);
  await reads(above, '#tree-more', /^1 link of an edge$/);
  await reads(above, '#edges tbody', /^[0-9a-f]{16}\d+:\d\d10 B0/);
  assert.deepEqual(await below.evaluate(nameless), []);
  await below.screenshot({ path: join(pictures, 'status-edge.png'), fullPage: true });
  // The edge may not ask its home for the fleet's pods (`relay.orders`), and its page says so.
  await reads(below, '#silent', /^The fleet cannot be asked/);
  await assertQuiet(above);
  // A pod without either says nothing of it.
  const alone = await visit(t);
  await reads(alone, '#state', /^(Ready|Overloaded)$/);
  assert.ok(await alone.$eval('#tree', ({ hidden }) => hidden));
});

test('it is paused and goes on by the keyboard, and its tables are reached', async (t) => {
  const page = await visit(t);
  const focused = () =>
    page.evaluate(
      () => document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.className,
    );
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'limits');
  await page.keyboard.press('p');
  assert.equal(await page.getAttribute('#pause', 'aria-pressed'), 'true');
  await reads(page, '#pause', /^Go on/);
  // What was under way when it was paused is let through.
  await page.waitForLoadState('networkidle');
  const before = page.requested.length;
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  assert.equal(page.requested.length, before, 'it asks although it is paused');
  const asked = page.waitForRequest(/status\.json/);
  await page.keyboard.press('p');
  await asked;
  await assertQuiet(page);
});

const SIZES = [
  ['status-desktop-light', { viewport: { width: 1440, height: 1000 }, colorScheme: 'light' }],
  ['status-desktop-dark', { viewport: { width: 1440, height: 1000 }, colorScheme: 'dark' }],
  ['status-tablet-light', { viewport: { width: 900, height: 1100 }, colorScheme: 'light' }],
  ['status-phone-dark', { viewport: { width: 360, height: 740 }, colorScheme: 'dark', isMobile: true, hasTouch: true }],
  ['status-phone-320', { viewport: { width: 320, height: 640 }, colorScheme: 'light', isMobile: true, hasTouch: true }],
];

for (const [name, options] of SIZES) {
  test(`${name}: under load it fits, can be read, and everything has a name`, async (t) => {
    await load(t, 3);
    const page = await visit(t, options);
    await reads(page, '#deliveries', /^[1-9]/);
    await reads(page, '#pods tbody', /\(this one\)/);
    const { fits, overflow } = await page.evaluate(() => {
      const past = [...document.querySelectorAll('body *')].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && box.right > innerWidth + 1 && !element.closest('.scrolls, .unseen');
      });
      return {
        fits: document.documentElement.scrollWidth <= innerWidth,
        overflow: past.map(({ outerHTML }) => outerHTML.slice(0, 120)),
      };
    });
    assert.ok(fits, 'it scrolls sideways');
    assert.deepEqual(overflow, []);
    assert.deepEqual(await page.evaluate(nameless), []);
    assert.deepEqual(await page.evaluate(faint), []);
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
    await assertQuiet(page);
  });
}
