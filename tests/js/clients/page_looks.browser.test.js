// The pod's own page for the eye, the keyboard and the screen reader: sizes, schemes, focus, names, contrast. Leaves
// screenshots in the target folder for people to look at.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
import { faint, nameless } from '../support/looks.js';
import { assertQuiet, openPage, reads, row } from '../support/page.js';
import { Pod } from '../support/pod.js';

const pictures = join(dirname(process.env.TEST_POD), '..', 'page-pictures');
let pod, browser;

before(async () => {
  await mkdir(pictures, { recursive: true });
  pod = await Pod.start({ config: rooms });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await pod?.stop();
});

const SIZES = [
  ['desktop-light', { viewport: { width: 1440, height: 1000 }, colorScheme: 'light' }],
  ['desktop-dark', { viewport: { width: 1440, height: 1000 }, colorScheme: 'dark' }],
  ['tablet-light', { viewport: { width: 900, height: 1100 }, colorScheme: 'light' }],
  ['phone-dark', { viewport: { width: 360, height: 740 }, colorScheme: 'dark', isMobile: true, hasTouch: true }],
  ['phone-320', { viewport: { width: 320, height: 640 }, colorScheme: 'light', isMobile: true, hasTouch: true }],
];

for (const [name, options] of SIZES) {
  test(`${name}: with traffic and errors it fits, can be read, and everything has a name`, async (t) => {
    const page = await openPage(browser, pod, {
      rooms: ['demo:batch-looks', 'plain:looks', 'closed:looks'],
      ...options,
    });
    t.after(() => page.context().close());
    await page.click('[data-room="demo:batch-looks"] .room-name');
    await page.click('#generate');
    await row(page, ({ trip }) => trip, 'an own event');
    await page.click('#events [role=option]');
    await page.fill('#publish-room', 'plain:looks');
    await page.click('#publish-form button[type=submit]');
    await reads(page, '#publish-says', /forbidden/);
    await page.fill('#publish-data', '{"text": hello}');
    for (const summary of await page.$$('summary')) await summary.click();
    await page.fill('#join-name', 'a b');
    await page.press('#join-name', 'Enter');
    await page.waitForTimeout(1_100);

    const { wanted, overflow } = await page.evaluate(() => {
      const wanted = innerWidth;
      const past = [...document.querySelectorAll('body *')].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && box.right > wanted + 1 && !element.closest('.events, pre, .unseen');
      });
      return {
        wanted: document.documentElement.scrollWidth <= wanted,
        overflow: past.map(({ outerHTML }) => outerHTML.slice(0, 120)),
      };
    });
    assert.ok(wanted, 'it scrolls sideways');
    assert.deepEqual(overflow, []);
    assert.deepEqual(await page.evaluate(nameless), []);
    assert.deepEqual(await page.evaluate(faint), []);
    await page.click('#token summary');
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
    await page.click('#generate');
    await assertQuiet(page);
  });
}

test('everything can be done with the keyboard, and the focus is seen', async (t) => {
  const page = await openPage(browser, pod, { rooms: ['demo:keys'] });
  t.after(() => page.context().close());
  const focus = () =>
    page.evaluate(() => {
      const { id, tagName, className, outerText, dataset } = document.activeElement;
      const style = getComputedStyle(document.activeElement);
      const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
      return { what: id || dataset.copies || className || (tagName === 'BODY' ? 'body' : outerText), seen };
    });
  const order = [];
  for (let n = 0; n < 60; n++) {
    await page.keyboard.press('Tab');
    const { what, seen } = await focus();
    if (what === 'body' || what === order[0]) break;
    assert.ok(seen, `the focus on ${what} is not seen`);
    order.push(what);
  }
  const path = order.join(' ');
  for (const wanted of [
    'skip',
    'hang-up',
    'Token',
    'join-name',
    'room-name',
    'pause',
    'events',
    'publish-data',
    'generate-rate',
    'generate',
  ]) {
    assert.ok(order.includes(wanted), `${wanted} is not reached: ${path}`);
  }
  assert.equal(order[0], 'skip');

  const tabTo = async (wanted) => {
    for (let n = 0; n < 60 && (await focus()).what !== wanted; n++) await page.keyboard.press('Tab');
    assert.equal((await focus()).what, wanted);
  };
  await page.evaluate(() => document.activeElement.blur());
  await page.focus('.skip');
  await page.keyboard.press('Enter');
  assert.equal((await focus()).what, 'join-name', 'the skip link skips');
  await page.keyboard.type('demo:typed');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-room="demo:typed"][data-status=joined]');
  assert.equal(await page.inputValue('#publish-room'), 'demo:typed');

  await tabTo('publish-data');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('{"by": "keyboard"}');
  await page.keyboard.press('Control+Enter');
  await row(page, ({ data }) => data === '{"by":"keyboard"}', 'what was typed');
  // Once more, so that there is something to move to.
  await page.keyboard.press('Control+Enter');
  await row(page, ({ offset }) => offset === 2, 'the second one');

  await page.focus('#pause');
  await tabTo('clear');
  await tabTo('events');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.match(await page.textContent('#detail-json'), /"by": "keyboard"/);
  assert.match(await page.textContent('#detail-facts'), /^offset1epoch.*round trip/);
  const active = await page.getAttribute('#events', 'aria-activedescendant');
  assert.equal(await page.getAttribute(`#${active}`, 'aria-selected'), 'true');
  await page.keyboard.press(' ');
  assert.equal(await page.getAttribute('#pause', 'aria-pressed'), 'true');
  await tabTo('detail-close');
  await page.keyboard.press('Escape');
  assert.equal(await page.isVisible('#detail'), false);
  assert.equal((await focus()).what, 'events', 'the focus returns');

  await tabTo('generate-rate');
  const before = Number(await page.inputValue('#generate-rate'));
  await page.keyboard.press('ArrowRight');
  assert.equal(Number(await page.inputValue('#generate-rate')), before + 1);
  await page.focus('#token summary');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal((await focus()).what, 'token-value');
  await page.keyboard.press('Escape');
  assert.equal(await page.isVisible('#token-value'), false);
  assert.equal(await page.textContent('#announcements'), 'demo:typed: joined');
  await assertQuiet(page);
});

test('who prefers reduced motion gets a plot that stands still between seconds', async (t) => {
  for (const [reducedMotion, most, least] of [
    ['reduce', 5, 2],
    ['no-preference', 200, 20],
  ]) {
    const page = await openPage(browser, pod, { reducedMotion, rooms: ['demo:motion'] });
    t.after(() => page.context().close());
    await page.evaluate(() => {
      window.drawn = 0;
      const clear = CanvasRenderingContext2D.prototype.clearRect;
      CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (this.canvas.id === 'rate-plot') window.drawn += 1;
        return clear.apply(this, box);
      };
    });
    await page.waitForTimeout(3_000);
    const drawn = await page.evaluate(() => window.drawn);
    assert.ok(drawn >= least && drawn <= most, `${reducedMotion}: ${drawn} pictures in 3 s`);
  }
});
