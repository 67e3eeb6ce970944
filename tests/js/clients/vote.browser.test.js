// The vote of examples/react, started by its one command: two visitors in Chromium, through a cut.
//
//   SCREENSHOTS   a folder that gets pictures of what the test looks at

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.js';
import { Example, faults, picture, watch } from '../support/example.js';

let vote, browser;

before(async () => {
  vote = await Example.start('react');
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await vote?.stop();
});

async function visit(t, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 640 }, ...options });
  t.after(() => context.close());
  const page = watch(await context.newPage());
  await page.goto(vote.address);
  return page;
}

/** Waits until a page shows these counts, and this line below them. */
const shows = (page, counts, foot) =>
  page.waitForFunction(
    ([counts, foot]) => {
      const shown = [...document.querySelectorAll('.count')].map(({ firstChild }) => Number(firstChild.textContent));
      return `${shown}` === `${counts}` && document.querySelector('.foot').textContent === foot;
    },
    [counts, foot],
  );

test('its code is right in every type', () => vote.compiles());

test('visitors vote, change their mind, and count once each through a cut', async (t) => {
  const one = await visit(t);
  const other = await visit(t, { viewport: { width: 390, height: 700 }, colorScheme: 'dark' });
  await Promise.all([one, other].map((page) => shows(page, [0, 0, 0, 0], '2 looking, 0 voted')));
  await one.click('text=Ramen');
  await other.click('text=Dal');
  await Promise.all([one, other].map((page) => shows(page, [1, 0, 1, 0], '2 looking, 2 voted')));
  await one.click('text=Dal');
  await Promise.all([one, other].map((page) => shows(page, [0, 0, 2, 0], '2 looking, 2 voted')));
  await picture(one, 'vote-desk');
  await picture(other, 'vote-phone-dark');
  assert.deepEqual(await faults(one), []);
  assert.deepEqual(await faults(other), []);

  vote.cut();
  await Promise.all([one, other].map((page) => page.waitForSelector('text=Offline')));
  await one.click('text=Pizza');
  await other.click('text=Pizza');
  await other.click('text=Salad');
  vote.mend();
  await Promise.all([one, other].map((page) => shows(page, [0, 1, 0, 1], '2 looking, 2 voted')));
  assert.equal(await one.getAttribute('button:has-text("Pizza")', 'aria-pressed'), 'true');
  // One that comes late has the same numbers, and one that goes takes nothing with it but its look.
  const late = await visit(t);
  await shows(late, [0, 1, 0, 1], '3 looking, 2 voted');
  await other.close();
  await shows(late, [0, 1, 0, 1], '2 looking, 2 voted');
  assert.deepEqual([...one.complaints, ...late.complaints], []);
});
