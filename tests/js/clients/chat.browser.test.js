// The chat of examples/chat, started by its one command: two people in Chromium, through a cut, on a desk and on a phone.
//
//   SCREENSHOTS   a folder that gets pictures of what the tests look at

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { launch } from '../support/browser.js';
import { Example, faults, picture, watch } from '../support/example.js';
import { until } from '../support/process.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');

let chat, browser;

before(async () => {
  chat = await Example.start('chat');
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await chat?.stop();
});

/** A page of its own for a person that has entered the chat, and what the page complains about. */
async function enter(t, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 780 }, ...options });
  t.after(() => context.close());
  const page = watch(await context.newPage());
  await page.goto(`${chat.address}${options.room ?? ''}`);
  await page.fill('#name', name);
  await page.click('button[type=submit]');
  await page.waitForSelector('.state[data-state=open]', { state: 'attached' });
  return page;
}

const write = async (page, text) => {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
};
const texts = (page) => page.$$eval('.message .text', (all) => all.map(({ textContent }) => textContent));
const reads = (page, wanted) =>
  until(
    async () => JSON.stringify(await texts(page)) === JSON.stringify(wanted),
    15_000,
    async () => `it does not read ${JSON.stringify(wanted)}`,
  );
const badge = (page, room) => page.locator(`.room-list a[href="#${room}"] .badge`);

/** Says lines in a room as a person without a page, as fast as the pod takes them. */
async function say(t, name, room, lines) {
  const { token, pod } = await (await fetch(`${chat.address}session?name=${name}`)).json();
  const client = new Client({ url: pod, token, WebSocket, storage: null });
  t.after(() => client.close());
  for (const text of lines) {
    const isThere = () =>
      commands(client)
        .publish(room, 'message', { text })
        .then(
          () => true,
          ({ code }) => assert.equal(code, 'rate_limited'),
        );
    await until(isThere, 30_000, `"${text}" is not taken`);
  }
}

test('its code is right in every type', () => chat.compiles());

test('two people talk, see each other type, and lose nothing through a cut', async (t) => {
  const [ann, bob] = [await enter(t, 'ann'), await enter(t, 'bob')];
  await Promise.all([ann, bob].map((page) => page.waitForSelector('.faces .avatar[title=ann] >> visible=true')));
  await ann.waitForSelector('.faces .avatar[title=bob]');
  assert.equal(await ann.textContent('.empty'), 'Nothing was said here yet. Say hello.');

  await ann.locator('#text').pressSequentially('Hel');
  await bob.waitForFunction(() => document.querySelector('.typing').textContent === 'ann is typing');
  await write(ann, 'Hello?');
  await reads(bob, ['Hello?']);
  await bob.waitForFunction(() => document.querySelector('.typing').textContent === '');
  assert.equal(await bob.locator('.faces .avatar').count(), 2, 'they are still here');
  await ann.waitForSelector('.message.own .sent-state:text("Read by bob")');
  await write(bob, 'Hi <b>ann</b>');
  await reads(ann, ['Hello?', 'Hi <b>ann</b>']);

  // The network is away: what is written waits, once; what was said meanwhile comes.
  chat.cut();
  await Promise.all([ann, bob].map((page) => page.waitForSelector('.state:not([data-state=open])')));
  await write(ann, 'Are you there?');
  await ann.waitForSelector('.message[data-state=waiting] .sent-state:text("Sending…")');
  await write(bob, 'The line is dead');
  await picture(ann, 'chat-away');
  chat.mend();
  await Promise.all([ann, bob].map((page) => page.waitForSelector('.state[data-state=open]')));
  await ann.waitForFunction(() => document.querySelectorAll('.message[data-state=sent]').length === 4);
  await bob.waitForFunction(() => document.querySelectorAll('.message[data-state=sent]').length === 4);
  const both = await Promise.all([ann, bob].map(texts));
  assert.deepEqual(both[0], both[1]);
  assert.deepEqual([...both[0]].sort(), ['Are you there?', 'Hello?', 'Hi <b>ann</b>', 'The line is dead']);
  await bob.waitForSelector('.message.own .sent-state:text("Read by ann")');
  await picture(ann, 'chat-desk');
  assert.deepEqual(await faults(ann), []);

  // A page that is loaded again has it all.
  await bob.reload();
  await reads(bob, both[0]);
  await bob.click('text=Leave');
  await bob.waitForSelector('#name');
  await ann.waitForFunction(() => document.querySelectorAll('.faces .avatar').length === 1);
  assert.deepEqual([...ann.complaints, ...bob.complaints], []);
});

test('what is said in another room is counted until it is read, on all devices of a person', async (t) => {
  const cem = await enter(t, 'cem', { room: '#kitchen' });
  const desk = await enter(t, 'dana');
  const phone = await enter(t, 'dana', { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  await write(cem, 'Soup');
  await write(cem, 'Or bread');
  const shows = (page, text) =>
    until(async () => (await badge(page, 'kitchen').textContent()).startsWith(text), 15_000, `no badge of ${text}`);
  await Promise.all([desk, phone].map((page) => shows(page, '2')));
  await desk.waitForFunction(() => /^\(\d+\) /.test(document.title));
  await picture(phone, 'chat-phone-list');
  assert.deepEqual(await faults(phone), []);

  await phone.click('.room-list a[href="#kitchen"]');
  await reads(phone, ['Soup', 'Or bread']);
  assert.equal(await phone.isVisible('.rooms'), false, 'a phone shows one of the two');
  assert.equal(await phone.locator('.new').count(), 1, 'a line stands above what is new');
  await picture(phone, 'chat-phone-room');
  assert.deepEqual(await faults(phone), []);
  await Promise.all([desk, phone].map((page) => badge(page, 'kitchen').waitFor({ state: 'detached' })));
  await phone.goBack();
  await phone.waitForSelector('.rooms');
});

test('a long conversation is read from its end, and backwards', async (t) => {
  const eve = await enter(t, 'eve', { room: '#design', colorScheme: 'dark' });
  const lines = Array.from({ length: 70 }, (_, n) => `Line ${n + 1}: ${'lorem ipsum '.repeat(1 + (n % 9))}`.trim());
  await say(t, 'eve', 'chat:design', lines);
  await until(async () => (await texts(eve)).at(-1) === lines.at(-1), 15_000, 'not all comes');
  const fred = await enter(t, 'fred', { room: '#design', colorScheme: 'dark' });
  await reads(fred, lines.slice(20));
  const log = fred.locator('.log');
  const fromEnd = () => log.evaluate((one) => Math.round(one.scrollHeight - one.scrollTop - one.clientHeight));
  assert.ok((await fromEnd()) < 2, 'it begins at its end');
  await picture(fred, 'chat-dark');
  assert.deepEqual(await faults(fred), []);
  await log.evaluate((one) => (one.scrollTop = 0));
  await fred.click('.older');
  await reads(fred, lines);
  assert.equal(await fred.isVisible('.older'), false);
  // What comes does not move what is being read.
  await log.evaluate((one) => (one.scrollTop = 300));
  await write(eve, 'A new one');
  await reads(fred, [...lines, 'A new one']);
  assert.equal(await log.evaluate((one) => one.scrollTop), 300);
  await fred.click('.down');
  await fred.waitForFunction(() => document.querySelector('.down').hidden);
  assert.ok((await fromEnd()) < 2);
});

test('a name that cannot be is refused in words, and everything works by keyboard', async (t) => {
  const context = await browser.newContext({ viewport: { width: 1180, height: 780 } });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(chat.address);
  await picture(page, 'chat-sign-in');
  assert.deepEqual(await faults(page), []);
  await page.keyboard.type('<script>');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.problem:text("A name has 1 to 30")');
  await page.fill('#name', 'gil');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.state[data-state=open]');
  // The field for a message has the focus; Shift and Enter begin a new line.
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => [...document.querySelectorAll('.text')].at(-1)?.textContent === 'one\ntwo');
  await page.focus('.room-list a[href="#design"]');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#room-title').textContent === 'Design');
});
