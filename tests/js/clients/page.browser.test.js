// The pod's own page, used in a real Chromium as a visitor would: rooms, events, publishing, losing the connection.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { launch } from '../support/browser.js';
import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { assertQuiet, openPage, reads, row, rows } from '../support/page.js';
import { Pod } from '../support/pod.js';

let pod, browser;

before(async () => {
  pod = await Pod.start({ config: rooms });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await pod?.stop();
});

/** Opens the page for one test. */
async function visit(t, options) {
  const page = await openPage(browser, pod, options);
  t.after(() => page.context().close());
  return page;
}

/** Runs a line of the page in a shell, as somebody who has copied it. */
const shell = (line) =>
  promisify(execFile)('bash', ['-c', line], { env: { ...process.env, ROOMCAST_API_KEY: Pod.key } });

const series = (page) => page.evaluate(() => window.roomcast.measure.series());

test('it loads without a complaint, talks to nobody but its pod, and is in demo:1', async (t) => {
  const page = await visit(t);
  await page.waitForFunction(() => window.roomcast.client.rooms.get('demo:1')?.status === 'joined');
  await reads(page, '#transport-more', /^connected 0:0[1-9]/);
  const hosts = new Set(page.requested.map((url) => new URL(url).host));
  assert.deepEqual([...hosts], [`localhost:${pod.plainPort}`], 'a request left the pod');
  assert.ok(page.requested.length > 10, 'its files were asked for');
  assert.equal(await page.textContent('#state'), 'Connected');
  assert.equal(await page.textContent('#transport'), 'WebSocket');
  assert.equal(await page.textContent('#tls'), 'None');
  assert.equal(await page.textContent('#compression-more'), 'permessage-deflate');
  assert.match(await page.textContent('#version'), /^roomcast \d+\.\d+\.\d+, development mode$/);
  await assertQuiet(page);
});

test('an event published by the form appears, with its round trip', async (t) => {
  const page = await visit(t);
  await page.fill('#publish-topic', 'chat');
  await page.fill('#publish-key', 'ann');
  await page.fill('#publish-data', '{"text": "Grüße, 世界", "n": 12345678901234567890}');
  await page.click('#publish-form button[type=submit]');
  const shown = await row(page, ({ topic, trip }) => topic === 'chat' && trip, 'the event and its round trip');
  assert.deepEqual([shown.room, shown.key, /Grüße, 世界/.test(shown.data)], ['demo:1', 'ann', true]);
  assert.match(shown.trip, /^[\d.]+ m?s$/);
  await reads(page, '#publish-says', new RegExp(`^Published to demo:1 at offset ${shown.offset}, answered in`));
  const measured = await page.evaluate(() => window.roomcast.measure.summary());
  assert.equal(measured.trips, 1);
  assert.ok(measured.p50 > 0 && measured.p50 < 5_000, JSON.stringify(measured));
  // As it was written: a number that JavaScript could not keep.
  const client = await Client.open(pod.plainUrl);
  const { raw } = await client.request({ type: 'history', room: 'demo:1', limit: 1 });
  assert.ok(raw.includes('12345678901234567890'), raw);
  await client.close();
  await assertQuiet(page);
});

test('an event published by the curl line that it shows appears', async (t) => {
  const page = await visit(t);
  await page.fill('#publish-topic', 'from-curl');
  await page.fill('#publish-data', `{\n  "it's": ["a quote", 1]\n}`);
  await page.click('text=From a backend, with curl');
  const { stdout } = await shell(await page.textContent('#snippet-curl'));
  const shown = await row(page, ({ topic }) => topic === 'from-curl', 'the event');
  assert.equal(shown.offset, JSON.parse(stdout).offset);
  assert.equal(shown.data, `{"it's":["a quote",1]}`);
  assert.equal(shown.trip, null, 'somebody else’s event has no round trip');
  await assertQuiet(page);
});

test('a room is joined by name, and left', async (t) => {
  const page = await visit(t);
  await page.fill('#join-name', 'no good');
  await page.press('#join-name', 'Enter');
  assert.match(await page.textContent('#join-says'), /white space/);
  await page.fill('#join-name', 'plain:joined');
  await page.press('#join-name', 'Enter');
  await page.waitForSelector('[data-room="plain:joined"][data-status=joined]');
  assert.equal(new URL(page.url()).hash, '#demo%3A1,plain%3Ajoined');
  await pod.publish('plain:joined', 1);
  await row(page, ({ room }) => room === 'plain:joined', 'the event');
  await page.click('[aria-label="Leave plain:joined"]');
  await page.waitForSelector('[data-room="plain:joined"]', { state: 'detached' });
  assert.equal(new URL(page.url()).hash, '#demo%3A1');
  await pod.publish('plain:joined', 2);
  await pod.publish('demo:1', 'after it', { topic: 'after' });
  await row(page, ({ topic }) => topic === 'after', 'a later event of another room');
  assert.equal((await rows(page)).filter(({ room }) => room === 'plain:joined').length, 1);
  await assertQuiet(page);
});

test('a room that may not be joined says why', async (t) => {
  const page = await visit(t, { rooms: ['closed:room'] });
  await reads(page, '[data-room="closed:room"] .wrong', /^forbidden: /);
  await reads(page, '#events .note.error', /closed:room/);
  await assertQuiet(page);
});

test('who is in a room is shown, and changes', async (t) => {
  const page = await visit(t, { rooms: ['demo:seen'] });
  await reads(page, '[data-room="demo:seen"] .here', /^1 here$/);
  const other = await visit(t, { rooms: ['demo:seen'] });
  await reads(page, '[data-room="demo:seen"] .here', /^2 here$/);
  await other.context().close();
  await reads(page, '[data-room="demo:seen"] .here', /^1 here$/);
  assert.equal(await page.textContent('[data-room="demo:seen"] .member'), 'you');
});

test('events of one message stand together, with their range and size; conflated and retained ones are marked', async (t) => {
  const page = await visit(t, { rooms: ['batch:page', 'newest-key:page'] });
  await Promise.all([1, 2, 3].map((n) => pod.publish('batch:page', { n })));
  await Promise.all([1, 2, 3].map((n) => pod.publish('newest-key:page', { n }, { key: 'one' })));
  await row(page, ({ room, offset }) => room === 'newest-key:page' && offset === 3, 'the newest of a key');
  const heads = await page.$$eval('.batch', (all) =>
    all.map((batch) => [...batch.querySelectorAll('.batch-head span')].map(({ textContent }) => textContent)),
  );
  const head = (room) => heads.find(([name]) => name === room);
  assert.deepEqual(head('batch:page').slice(0, 3), ['batch:page', '1–3', '3 events']);
  assert.match(head('batch:page')[3], /^\d+ B$/);
  assert.deepEqual(head('newest-key:page').slice(0, 4), ['newest-key:page', '1–3', '1 event', 'conflated']);

  await pod.publish('retain:page', 'kept', { key: 'k' });
  await page.fill('#join-name', 'retain:page');
  await page.press('#join-name', 'Enter');
  await row(page, ({ room, data }) => room === 'retain:page' && data === '"kept"', 'the retained value');
  await reads(page, '.batch.retained .badge', /^kept by the room$/);
  await assertQuiet(page);
});

test('the generator moves the plot, and compression saves', async (t) => {
  const page = await visit(t, { rooms: ['demo:batch-generator'] });
  assert.ok((await series(page)).every(({ events }) => !events));
  const blank = await page.$eval('#rate-plot', (canvas) => canvas.toDataURL());
  await page.fill('#generate-rate', '30');
  await page.click('#generate');
  await page.waitForTimeout(4_200);
  await page.click('#generate');
  const moved = (await series(page)).filter(({ events }) => events > 0);
  assert.ok(moved.length >= 3, `only ${moved.length} seconds with events`);
  const best = Math.max(...moved.map(({ events }) => events));
  assert.ok(best >= 20 && best <= 60, `30 a second were asked for, ${best} came`);
  assert.ok(
    moved.some(({ p50, p99 }) => p50 > 0 && p99 >= p50),
    'round trips were plotted',
  );
  assert.notEqual(await page.$eval('#rate-plot', (canvas) => canvas.toDataURL()), blank);
  await reads(page, '#rate-total', /^[1-9]\d+$/);
  assert.match(await reads(page, '#saved', /^[1-9]\d %$/), /%/);
  assert.match(await page.textContent('#saved-more'), /^[\d.]+ kB on the wire for [\d.]+ kB$/);
  const sent = await page.evaluate(() => window.roomcast.publish.sent);
  await page.waitForTimeout(500);
  assert.equal(await page.evaluate(() => window.roomcast.publish.sent), sent, 'it stops');
  await assertQuiet(page);
});

test('a refused publish says why, and how a backend does it', async (t) => {
  const page = await visit(t, { rooms: ['plain:refused'] });
  await page.click('#publish-form button[type=submit]');
  await reads(page, '#publish-says', /^Clients may not publish to plain:refused \(forbidden\)/);
  await shell(await page.textContent('#backend-line'));
  await row(page, ({ room, topic }) => room === 'plain:refused' && topic === 'greeting', 'the event of the line');
  // The generator stops at the same wall.
  await page.click('#generate');
  await reads(page, '#generate', /^Start$/);
  assert.ok((await page.evaluate(() => window.roomcast.publish.sent)) < 48);
  await assertQuiet(page);
});

test('data that is not JSON is not sent, and the place is named', async (t) => {
  const page = await visit(t);
  for (const [text, says] of [
    ['{"text": hello}', /a value should stand at line 1, column 10\. Text stands in double quotes\.$/],
    ['{\n  "a": 1,\n}', /a name in double quotes should stand at line 3, column 1\.$/],
    ['[1 2]', /a comma or “]” should stand at line 1, column 4\.$/],
    ['', /^Data is empty/],
  ]) {
    await page.fill('#publish-data', text);
    await page.press('#publish-data', 'Control+Enter');
    assert.match(await page.textContent('#data-says'), says);
    assert.equal(await page.getAttribute('#publish-data', 'aria-invalid'), 'true');
  }
  assert.equal(await page.textContent('#publish-says'), '', 'nothing was sent');
  await page.fill('#publish-data', '[1, {"a": null}]');
  assert.equal(await page.textContent('#data-says'), '');
  assert.equal(await page.getAttribute('#publish-data', 'aria-invalid'), 'false');
  await assertQuiet(page);
});

test('pausing keeps the list still; resuming shows what came', async (t) => {
  const page = await visit(t, { rooms: ['plain:pause'] });
  await pod.publish('plain:pause', 1);
  await row(page, ({ offset }) => offset === 1, 'the first event');
  await page.click('#pause');
  for (let n = 2; n <= 5; n++) await pod.publish('plain:pause', n);
  await reads(page, '#stream-says', /^paused, 4 events waiting$/);
  assert.deepEqual(
    (await rows(page)).map(({ offset }) => offset),
    [1],
  );
  await page.click('#pause');
  await row(page, ({ offset }) => offset === 5, 'the last event');
  assert.deepEqual(
    (await rows(page)).map(({ offset }) => offset),
    [5, 4, 3, 2, 1],
  );
  await page.click('#clear');
  assert.deepEqual(await rows(page), []);
  await assertQuiet(page);
});

test('a token that is refused says so, and is kept nowhere', async (t) => {
  const page = await visit(t);
  await page.click('#token summary');
  assert.equal(await page.getAttribute('#token-value', 'type'), 'password');
  await page.fill('#token-value', 'not.a.token');
  await page.click('#token-form button');
  await reads(page, '#token-says', /refused/i);
  assert.equal(await page.inputValue('#token-value'), '');
  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]),
  );
  assert.ok(!kept.includes('not.a.token'), kept);
});

test('a token brings the user’s own room; when it ends the page asks for another, and goes on with it', async (t) => {
  const secret = 'a-secret-of-these-tests-that-is-long-enough';
  const own = await Pod.start({
    config: `
      [tokens]
      hmac_secrets = ["${secret}"]
      leeway = "0ms"
      personal_room = "user:{user}"
      [[policy]]
      match = ["user:*"]
      join = "owner"
    `,
  });
  t.after(() => own.stop());
  const token = (seconds) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const exp = Math.floor(Date.now() / 1000) + seconds;
    const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ann', exp })}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const page = await openPage(browser, own, { rooms: ['demo:tokens'] });
  t.after(() => page.context().close());
  const present = async (seconds) => {
    if (!(await page.isVisible('#token-value'))) await page.click('#token summary');
    await page.fill('#token-value', token(seconds));
    await page.click('#token-form button');
  };
  await present(4);
  await reads(page, '#token-says', /^Accepted until \d\d:\d\d:\d\d\.$/);
  await page.waitForSelector('[data-room="user:ann"][data-status=joined]');
  await own.publish('user:ann', 'only for her');
  await row(page, ({ room, data }) => room === 'user:ann' && data === '"only for her"', 'the event of her room');
  await reads(page, '[data-room="demo:tokens"] .position', /·/);

  await reads(page, '#why', /^the token expired \(4002\)$/);
  assert.equal(await page.isVisible('#token-value'), true);
  await own.publish('user:ann', 'while she was away');
  await present(60);
  await page.waitForSelector('body[data-state=open]');
  await row(page, ({ room, data }) => room === 'user:ann' && data === '"while she was away"', 'what she missed');
  assert.equal((await rows(page)).filter(({ room }) => room === 'user:ann').length, 2, 'each once');
  // In band, on the same connection.
  const before = await page.evaluate(() => window.roomcast.client.welcome.connection);
  await present(600);
  await reads(page, '#token-says', /^Accepted until/);
  assert.equal(await page.evaluate(() => window.roomcast.client.welcome.connection), before);
  await assertQuiet(page);
});
