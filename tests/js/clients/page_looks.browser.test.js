// The pod's own page for the eye, the keyboard and the screen reader: sizes, schemes, focus, names, contrast. Leaves
// screenshots in the target folder for people to look at.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { rooms } from '../support/config.js';
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

/** Controls without a name, images without a text, ids that are not unique or that nothing has. Runs in the page. */
function nameless() {
  const wrong = [];
  for (const control of document.querySelectorAll('input, select, textarea, button, summary, [tabindex], canvas')) {
    const labelled = control.getAttribute('aria-label') || control.labels?.length || control.textContent.trim();
    if (!labelled) wrong.push(`nameless: ${control.outerHTML.slice(0, 100)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`twice: ${id}`);
  for (const attribute of ['for', 'aria-labelledby', 'aria-describedby', 'aria-activedescendant', 'list']) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const id = element.getAttribute(attribute);
      if (!document.getElementById(id)) wrong.push(`${attribute} names ${id}, which is not there`);
    }
  }
  if (!document.documentElement.lang || document.querySelectorAll('h1').length !== 1) wrong.push('language or heading');
  return wrong;
}

/** Texts with less contrast than WCAG 2.2 wants: 4.5, or 3 for large ones. Runs in the page. */
function faint() {
  const rgba = (text) => {
    const canvas = (window.mixer ??= new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true }));
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (channels) => {
    const [r, g, b] = channels.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !element.checkVisibility() || element.closest('.unseen, .skip'))
      continue;
    const above = [];
    for (let at = element; at; at = at.parentElement) above.unshift(at);
    const ground = above.reduce(
      (under, at) => over(rgba(getComputedStyle(at).backgroundColor), under),
      [255, 255, 255],
    );
    const style = getComputedStyle(element);
    const opacity = above.reduce((all, at) => all * Number(getComputedStyle(at).opacity), 1);
    const [r, g, b, a] = rgba(style.color);
    const ink = over([r, g, b, a * opacity], ground);
    const [bright, dark] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const text = texts.currentNode.textContent.trim().slice(0, 30);
    // A dash stands for a figure that is not there.
    if (ratio < least && text !== '–')
      found.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${text}`);
  }
  return [...found];
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
