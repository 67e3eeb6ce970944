// The application of examples/angular in Chromium, on two pods over a real Redis: what people see of each other, on all their devices;
// through a cut of 3 s, and the death of a pod.
//
//   SCREENSHOTS   a folder that gets pictures of what the tests look at

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { launch } from '../support/browser.js';
import { faults, picture } from '../support/example.js';
import { until } from '../support/process.js';
import { connected, SocialExample } from '../support/social_example.js';

const PHONE = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };

let social, browser;

before(async () => {
  [social, browser] = await Promise.all([SocialExample.start(), launch()]);
});
after(async () => {
  await browser?.close();
  await social?.stop();
});

const enter = (t, name, options) => social.enter(t, browser, name, options);
const go = (page, screen) => page.click(`nav a[href="/${screen}"]`);
const talkTo = (page, id) => page.click(`.list a[href="/messages/${id}"]`);
const write = async (page, text) => {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
};
const texts = (page) => page.$$eval('.message .text', (all) => all.map(({ textContent }) => textContent));
/** Waits until the own message with this text is shown as `state`. */
const becomes = async (page, text, state) => {
  let found;
  const look = async () => {
    const all = await page.$$eval('.message.own', (all) =>
      all.map((one) => [one.querySelector('.text').textContent, one.dataset.state]),
    );
    found = new Map(all).get(text);
    return found === state;
  };
  await until(look, 20_000, () => `"${text}" is ${found} and not ${state}`);
};
const reads = async (page, selector, wanted) => {
  let found;
  const look = async () => {
    [found = 'not there'] = await page.$$eval(selector, (all) => all.map(({ textContent }) => textContent.trim()));
    return found === wanted;
  };
  await until(look, 20_000, () => `${selector} is "${found}" and not "${wanted}"`);
};
/** A number beside a link: of a screen, or of a conversation. None is 0. */
const counts = async (page, href, wanted) => {
  let found;
  const look = async () => {
    const all = await page.$$eval(`a[href="${href}"] .badge`, (all) => all.map(({ textContent }) => textContent));
    found = all.length > 0 ? Number.parseInt(all[0], 10) : 0;
    return found === wanted;
  };
  await until(look, 20_000, () => `${href} counts ${found} and not ${wanted}`);
};

test('two people on two pods see each other come, type, get and read', async (t) => {
  const ann = await enter(t, 'Ann');
  await talkTo(ann, 'ann-bob');
  await reads(ann, '.empty', 'Nothing was said here yet. Say hello.');
  await write(ann, 'Are you up?');
  await becomes(ann, 'Are you up?', 'sent');
  await reads(ann, '.about', 'Offline');

  // He is there, and looks at something else: it is delivered, counted and announced, and not read.
  const bob = await enter(t, 'Bob', { place: 1, path: '/feed' });
  await becomes(ann, 'Are you up?', 'delivered');
  await reads(ann, '.about', 'Online');
  await ann.waitForSelector('.list a[href="/messages/ann-bob"] app-avatar[data-status=online]');
  await counts(bob, '/messages', 1);
  await write(ann, 'I have coffee');
  await bob.waitForSelector('app-toasts .title:text-is("Ann")');
  await reads(bob, 'app-toasts .text', 'I have coffee');
  await counts(bob, '/messages', 2);
  await bob.waitForFunction(() => document.title.startsWith('(2) Feed'));
  await picture(bob, 'angular-toast');

  await bob.click('app-toasts button:text-is("Open")');
  await becomes(ann, 'Are you up?', 'read');
  await becomes(ann, 'I have coffee', 'read');
  await counts(bob, '/messages', 0);
  assert.equal(await bob.locator('.new').count(), 1, 'a line stands above what is new');

  await bob.locator('#text').pressSequentially('Com');
  await reads(ann, 'app-conversation .typing', 'Bob is typing');
  await reads(ann, '.list a[href="/messages/ann-bob"] .said', 'typing…');
  await picture(ann, 'angular-desk');
  assert.deepEqual(await faults(ann), []);
  await write(bob, 'Coming <b>now</b>');
  await reads(ann, 'app-conversation .typing', '');
  assert.deepEqual(await texts(ann), ['Are you up?', 'I have coffee', 'Coming <b>now</b>']);
  await becomes(bob, 'Coming <b>now</b>', 'read');

  // What is typed and not sent ends by itself. (A pod passes on one in two seconds.)
  await bob.locator('#text').pressSequentially('Give me a minute', { delay: 200 });
  await reads(ann, 'app-conversation .typing', 'Bob is typing');
  await reads(ann, 'app-conversation .typing', '');

  await go(bob, 'settings');
  await bob.click('label:has-text("Busy")');
  await ann.waitForSelector('.list a[href="/messages/ann-bob"] app-avatar[data-status=busy]');
  await bob.click('label:has-text("Online")');
  await ann.waitForSelector('.list a[href="/messages/ann-bob"] app-avatar[data-status=online]');

  // A page that is loaded again knows what was read.
  await ann.reload();
  await becomes(ann, 'I have coffee', 'read');
  assert.deepEqual([...ann.complaints, ...bob.complaints], []);
  await bob.context().close();
  await ann.waitForSelector('.about:text("Last seen")', { timeout: 30_000 });
});

test('what is unread is the same on all devices of a person, and its own messages are not', async (t) => {
  const desk = await enter(t, 'Cem');
  const phone = await enter(t, 'Cem', { place: 1, ...PHONE });
  const dana = await enter(t, 'Dana', { place: 1 });
  await talkTo(dana, 'cem-dana');
  for (const text of ['Soup', 'Or bread', 'Or both']) await write(dana, text);
  for (const page of [desk, phone]) {
    await counts(page, '/messages/cem-dana', 3);
    await counts(page, '/messages', 3);
  }
  await picture(phone, 'angular-phone-list');
  assert.deepEqual(await faults(phone), []);
  await phone.click('.list a[href="/messages/cem-dana"]');
  await phone.waitForSelector('.message');
  assert.equal(await phone.isVisible('.list'), false, 'a phone shows one of the two');
  for (const page of [desk, phone]) await counts(page, '/messages', 0);
  await phone.fill('#text', 'Both, please');
  await phone.click('.send');
  await becomes(phone, 'Both, please', 'read');
  await reads(desk, '.list a[href="/messages/cem-dana"] .said', 'You: Both, please');
  await counts(desk, '/messages', 0);
  await picture(phone, 'angular-phone-talk');
  assert.deepEqual(await faults(phone), []);
  await phone.click('.back');
  await phone.waitForSelector('.list a >> visible=true');

  // In the group all have to have read it.
  await talkTo(desk, 'garden');
  await write(desk, 'Who waters on Sunday?');
  await talkTo(dana, 'garden');
  await dana.waitForSelector('.message .text:text-is("Who waters on Sunday?")');
  await sleep(1_500);
  assert.equal(await desk.getAttribute('.message.own:last-child', 'data-state'), 'sent');
  assert.deepEqual([...desk.complaints, ...phone.complaints, ...dana.complaints], []);
});

test('the feed collects what is new behind a banner, and nothing that is read moves', async (t) => {
  for (let n = 1; n <= 8; n++)
    await social.ask('eve', 'POST', '/api/posts', { text: `Slow bread, hour ${n}. `.repeat(4) });
  const fred = await enter(t, 'Fred', { place: 1, path: '/feed', viewport: { width: 1280, height: 560 } });
  const patient = await enter(t, 'Dana', { path: '/feed' });
  await patient.waitForFunction(() => document.querySelectorAll('app-post').length >= 11);
  const shown = await fred.locator('app-post').count();
  await fred.evaluate(() => {
    window.banners = [];
    const banner = document.querySelector('.banner');
    const watched = { childList: true, subtree: true, characterData: true };
    new MutationObserver(() => window.banners.push(banner.textContent.trim())).observe(banner, watched);
    document.querySelector('.scroller').scrollTop = 400;
  });
  await go(patient, 'settings');
  await patient.click('label:has-text("Refresh the feed")');
  await go(patient, 'feed');

  for (const text of ['One', 'Two']) await social.ask('ann', 'POST', '/api/posts', { text });
  await reads(fred, '.banner', '2 new posts');
  assert.deepEqual(await fred.evaluate(() => window.banners), ['2 new posts'], 'they come together');
  assert.equal(await fred.$eval('.scroller', ({ scrollTop }) => scrollTop), 400);
  assert.equal(await fred.locator('app-post').count(), shown);
  await counts(fred, '/feed', 2);
  await patient.waitForSelector('app-post .text:text-is("Two")');
  assert.equal(await patient.textContent('.banner'), '');

  // Counts change where they stand.
  const { posts } = await social.ask('ann', 'GET', '/api/posts');
  const bread = posts.find(({ author }) => author === 'eve');
  for (const user of ['ann', 'bob']) await social.ask(user, 'POST', `/api/posts/${bread.id}/like`, {});
  await reads(fred, `[id="${bread.id}"] .like .count`, '2');
  assert.equal(await fred.$eval('.scroller', ({ scrollTop }) => scrollTop), 400);
  await picture(fred, 'angular-feed');
  assert.deepEqual(await faults(fred), []);

  await fred.click('.banner button');
  await fred.waitForFunction(() => document.activeElement.textContent.includes('Two'));
  assert.equal(await fred.locator('app-post').count(), shown + 2);
  assert.equal(await fred.$eval('.scroller', ({ scrollTop }) => scrollTop), 0);

  // Own posts are there at once; comments too.
  await fred.fill('#post', 'Three');
  await fred.click('form button[type=submit]');
  await reads(fred, 'app-post:first-of-type .text', 'Three');
  const first = fred.locator('app-post').first();
  await first.locator('button[aria-expanded]').click();
  await first.locator('input').fill('Four, even');
  await first.locator('input').press('Enter');
  await first.locator('li:has-text("Four, even")').waitFor();
  assert.deepEqual(await faults(fred), []);
  assert.deepEqual([...fred.complaints, ...patient.complaints], []);
});

/** Counts the tones that a page plays. */
const hearing = () => {
  window.tones = 0;
  const Tone = window.OscillatorNode;
  window.OscillatorNode = class extends Tone {
    constructor(...options) {
      super(...options);
      window.tones++;
    }
  };
};

test('a notification is a toast, a badge and a sound, and on the desktop; read once, it is read everywhere', async (t) => {
  const { posts } = await social.ask('bob', 'GET', '/api/posts');
  const post = posts.find(({ author }) => author === 'dana');
  const desk = await enter(t, 'Dana', { script: hearing, colorScheme: 'dark' });
  const phone = await enter(t, 'Dana', { place: 1, script: hearing, ...PHONE, colorScheme: 'dark' });
  await counts(desk, '/notifications', 0);
  await go(desk, 'settings');
  await desk.click('label:has-text("Sound")');
  const before = await desk.evaluate(() => window.tones);
  assert.ok(before > 0, 'it plays as a sample');
  assert.deepEqual(await faults(desk), []);
  await picture(desk, 'angular-settings-dark');

  await social.ask('bob', 'POST', `/api/posts/${post.id}/like`, {});
  for (const page of [desk, phone]) {
    await page.waitForSelector('app-toasts .title:text-is("Bob likes your post")');
    await counts(page, '/notifications', 1);
  }
  await desk.waitForFunction((before) => window.tones > before, before);
  assert.equal(await phone.evaluate(() => window.tones), 0, 'only where the setting says so');
  await picture(phone, 'angular-phone-toast-dark');
  await social.ask('cem', 'POST', `/api/posts/${post.id}/comments`, { text: 'I took three' });
  for (const page of [desk, phone]) await counts(page, '/notifications', 2);
  for (let n = 0; n < 2; n++) await phone.click('app-toasts button[aria-label=Close] >> nth=0');
  await go(phone, 'notifications');
  await phone.waitForSelector('.item.new .title:text-is("Cem commented on your post")');
  await picture(phone, 'angular-phone-notifications-dark');
  assert.deepEqual(await faults(phone), []);
  await go(desk, 'notifications');
  await phone.click('text=Mark all as read');
  for (const page of [desk, phone]) {
    await counts(page, '/notifications', 0);
    await page.waitForFunction(
      () => document.querySelectorAll('.item').length === 2 && !document.querySelector('.item.new'),
    );
  }
  await desk.click('.item >> nth=0');
  await desk.waitForFunction((id) => document.activeElement.id === id, post.id);

  // A page that is not looked at has the desktop tell of it, with buttons.
  const away = await enter(t, 'Dana', {
    permissions: ['notifications'],
    viewport: { width: 900, height: 700 },
    script: () => {
      document.hasFocus = () => false;
    },
  });
  // What a page loads it does not tell of.
  await go(away, 'notifications');
  await away.waitForSelector('.item');
  await go(away, 'settings');
  await away.click('label:has-text("Desktop")');
  await away.waitForFunction(() => JSON.parse(localStorage.getItem('social:settings')).desktop);
  await picture(away, 'angular-tablet');
  await social.ask('eve', 'POST', '/api/posts', { text: 'For @dana: the crust' });
  const tells = async (title, body) => {
    let found;
    const look = async () => {
      found = await away.evaluate(async () => {
        const all = await (await navigator.serviceWorker.ready).getNotifications();
        return all.map(({ title, body, actions }) => [title, body, ...actions.map(({ action }) => action)]);
      });
      return JSON.stringify(found) === JSON.stringify([[title, body, 'open', 'read']]);
    };
    await until(look, 20_000, () => `on the desktop is ${JSON.stringify(found)}; ${away.complaints}`);
  };
  for (const page of [desk, phone, away]) await counts(page, '/notifications', 1);
  await tells('Eve mentioned you', 'For @dana: the crust');
  const [worker] = away.context().serviceWorkers();
  const press = (action) =>
    worker.evaluate(async (action) => {
      const [notification] = await self.registration.getNotifications();
      self.dispatchEvent(new NotificationEvent('notificationclick', { notification, action }));
    }, action);
  await press('read');
  for (const page of [desk, phone, away]) await counts(page, '/notifications', 0);
  const again = await social.ask('fred', 'POST', '/api/posts', { text: '@dana, again' });
  await tells('Fred mentioned you', '@dana, again');
  await press('open');
  // The feed may not have heard of it yet, and shows it all the same.
  await away.waitForFunction((id) => document.activeElement.id === id, again.id);
  for (const page of [desk, phone, away]) await counts(page, '/notifications', 0);
  assert.deepEqual([...desk.complaints, ...phone.complaints, ...away.complaints], []);
});

test('everything works by keyboard, and the first page lets nobody out', async (t) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(social.address);
  await page.waitForSelector('.person');
  await picture(page, 'angular-sign-in');
  assert.deepEqual(await faults(page), []);
  await page.focus('.person:has-text("Fred")');
  await page.keyboard.press('Enter');
  await connected(page);
  await page.keyboard.press('Tab');
  await page.waitForFunction(() => document.activeElement.className === 'skip');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'main');
  await page.focus('.list a[href="/messages/eve-fred"]');
  await page.keyboard.press('Enter');
  // The field for a message has the focus; Shift and Enter begin a new line.
  await page.waitForFunction(() => document.activeElement.id === 'text');
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.message .text')?.textContent === 'one\ntwo');
  await page.focus('nav a[href="/settings"]');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'main' && document.title.startsWith('Settings'));
  await page.click('text=Sign out');
  await page.waitForSelector('.person');
});

test('through a cut of 3 s and the death of a pod nothing is lost and nothing comes twice', async (t) => {
  const ann = await enter(t, 'Ann');
  const eve = await enter(t, 'Eve', { place: 1 });
  await talkTo(ann, 'ann-eve');
  await talkTo(eve, 'ann-eve');
  const said = [];
  const say = async (page, text) => {
    said.push(text);
    await write(page, text);
  };
  const whole = async () => {
    let both;
    const isAll = async () => {
      both = await Promise.all([ann, eve].map(texts));
      return both.every((all) => all.length >= said.length);
    };
    await until(isAll, 30_000, () => `of ${JSON.stringify(said)} they have ${JSON.stringify(both)}`);
    const [one, other] = both;
    assert.deepEqual(one, other, 'in one order');
    assert.deepEqual([...one].sort(), [...said].sort(), 'each once');
    for (const name of ['ann', 'eve'])
      assert.deepEqual(
        one.filter((text) => text.startsWith(name)),
        said.filter((text) => text.startsWith(name)),
        'each author in its order',
      );
  };
  await say(ann, 'ann 1');
  await say(eve, 'eve 1');
  await whole();

  for (const place of social.places) place.reaches();
  for (const page of [ann, eve]) await page.waitForSelector('.connection:not([data-state=open])');
  for (const n of [2, 3]) {
    await say(ann, `ann ${n}`);
    await say(eve, `eve ${n}`);
  }
  await ann.waitForSelector('.message[data-state=waiting] .text:text-is("ann 3")');
  await social.ask('bob', 'POST', '/api/posts', { text: 'While @ann was away' });
  await picture(ann, 'angular-away');
  await sleep(3_000);
  // Watched for from now on: it goes after 7 s.
  const toast = ann.waitForSelector('app-toasts .title:text-is("Bob mentioned you")', { timeout: 60_000 });
  toast.catch(() => {});
  for (const [at, place] of social.places.entries()) place.reaches(at);
  for (const page of [ann, eve]) await connected(page);
  await whole();
  await becomes(ann, 'ann 3', 'read');
  await becomes(eve, 'eve 3', 'read');
  await counts(ann, '/notifications', 1);
  await toast;

  // Ann's pod dies while both write. What she sees from now on comes by the other one.
  social.places[0].reaches(0, 1);
  await say(ann, 'ann 4');
  social.kill(0);
  await say(ann, 'ann 5');
  await say(eve, 'eve 4');
  await say(ann, 'ann 6');
  await whole();
  await connected(ann);
  await becomes(ann, 'ann 6', 'read');
  await becomes(eve, 'eve 4', 'read');
  // For longer than the two seconds in which another typing is left out.
  await ann.locator('#text').pressSequentially('Still', { delay: 700 });
  await reads(eve, 'app-conversation .typing', 'Ann is typing');
  assert.match(social.running.log, /The pod on port \d+ ended: SIGKILL/);
  assert.deepEqual([...ann.complaints, ...eve.complaints], []);
});
