// The TypeScript client's adapters with the frameworks themselves: React in Chromium, the others where they need no page.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from '../support/browser.js';
import { dependency, folder, load } from '../support/typescript.js';

const { Client } = await load('index');
const { signals } = await load('signals');
const { TestClock, TestPod, settled } = await load('testing');

/** A client of a pod in memory whose rooms keep the newest value of each key; and another user in the room `chat`. */
function world() {
  const clock = new TestClock();
  const pod = new TestPod({
    clock,
    accepts: (user) => ({ user }),
    retains: () => true,
    allows: (room) => room !== 'closed',
  });
  const connect = (token) =>
    new Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null, token, onError() {} });
  pod.publish('fleet', 'moved', 1, { key: 'bus-7' });
  return { pod, client: connect('ann'), connect };
}

/** Another user shows and says something: what a framework tells of it, by `read`, and that what it is told goes out. */
async function converses({ pod, connect, unread, typing }) {
  const bob = connect('bob');
  const seen = signals(bob, 'chat');
  await settled();
  seen.send('typing', 'bob');
  pod.publish('chat', 'said', 'hello');
  await settled();
  const shown = () => typing().shown.map(({ data }) => data);
  const before = unread().total;
  assert.deepEqual([shown(), before > 0, unread().rooms.get('chat').unread], [['bob'], true, before]);
  unread().read('chat');
  typing().send('typing', 'ann');
  await settled();
  assert.equal(unread().total, 0);
  assert.deepEqual(
    seen.snapshot.map(({ data }) => data),
    ['ann'],
  );
  bob.close();
  await settled();
  assert.deepEqual(shown(), []);
}

const dataOf = (values) => Object.fromEntries([...values].map(([key, { data }]) => [key, data]));

test('Vue: references that change, and end with their scope', async () => {
  const { effectScope, watch } = await dependency('vue');
  const vue = await load('vue');
  const { pod, client, connect } = world();
  const scope = effectScope();
  const seen = [];
  const totals = [];
  const [state, room, fleet, here] = scope.run(() => [
    vue.useClientState(client),
    vue.useRoom(client, 'chat', { event: ({ data }) => seen.push(data) }),
    vue.useMap(client, 'fleet'),
    vue.usePresence(client, 'chat'),
  ]);
  scope.run(() => watch(here, ({ total }) => totals.push(total), { flush: 'sync' }));
  await settled();
  assert.deepEqual([state.value.kind, room.value, dataOf(fleet.value)], ['open', 'joined', { 'bus-7': 1 }]);
  const before = fleet.value;
  pod.publish('fleet', 'moved', 2, { key: 'bus-7' });
  pod.publish('chat', 'said', 'hello');
  assert.deepEqual(
    [dataOf(fleet.value), dataOf(before), seen, totals.at(-1)],
    [{ 'bus-7': 2 }, { 'bus-7': 1 }, ['hello'], 1],
  );
  const [typing, unread] = scope.run(() => [vue.useSignals(client, 'chat'), vue.useUnread(client, 'chat')]);
  await settled();
  await converses({ pod, connect, unread: () => unread.value, typing: () => typing.value });
  scope.stop();
  await settled();
  assert.deepEqual(client.rooms, []);
});

/** An application of one component, in a place that has no page. */
function mounted(vue, setup) {
  const node = () => ({});
  const nothing = () => null;
  const app = vue
    .createRenderer({
      insert: nothing,
      remove: nothing,
      createElement: node,
      createText: node,
      createComment: node,
      setText: nothing,
      setElementText: nothing,
      parentNode: nothing,
      nextSibling: nothing,
      patchProp: nothing,
    })
    .createApp({ setup });
  app.mount({});
  return app;
}

test('Vue: a component joins when it is mounted, and on a server it does not', async () => {
  const all = await dependency('vue');
  const { renderToString } = await dependency('vue/server-renderer');
  const { useMap, useRoom } = await load('vue');
  const { client } = world();
  const values = [];
  const setup = () => {
    useRoom(client, 'chat');
    const fleet = useMap(client, 'fleet');
    return () => {
      values.push(dataOf(fleet.value));
      return all.h('p', `${fleet.value.size} there`);
    };
  };
  assert.equal(await renderToString(all.createSSRApp({ setup })), '<p>0 there</p>');
  await settled();
  assert.deepEqual([client.state.kind, client.rooms], ['idle', []]);
  const app = mounted(all, setup);
  await settled();
  assert.deepEqual([client.rooms.length, values.at(-1)], [2, { 'bus-7': 1 }]);
  app.unmount();
  await settled();
  assert.deepEqual(client.rooms, []);
  client.close();
});

test('Svelte: stores that join with their first subscriber and leave with their last', async () => {
  const { get } = await dependency('svelte/store');
  const svelte = await load('svelte');
  const { pod, client, connect } = world();
  const fleet = svelte.map(client, 'fleet');
  assert.equal(client.state.kind, 'idle', 'nothing is joined yet');
  const told = [[], []];
  const stops = told.map((all) => fleet.subscribe((values) => all.push(dataOf(values))));
  const stopPresence = svelte.presence(client, 'fleet').subscribe(() => {});
  await settled();
  pod.publish('fleet', 'moved', 2, { key: 'bus-7' });
  for (const all of told) assert.deepEqual(all.at(-1), { 'bus-7': 2 });
  assert.deepEqual([dataOf(get(fleet)), get(svelte.clientState(client)).kind], [{ 'bus-7': 2 }, 'open']);
  stops[0]();
  stops[0]();
  stopPresence();
  await settled();
  assert.deepEqual(
    client.rooms.map(({ name }) => name),
    ['fleet'],
  );
  stops[1]();
  await settled();
  assert.deepEqual(client.rooms, []);
  const [typing, unread] = [svelte.signals(client, 'chat'), svelte.unread(client, 'chat')];
  const ends = [typing, unread].map((store) => store.subscribe(() => {}));
  await settled();
  await converses({ pod, connect, unread: () => get(unread), typing: () => get(typing) });
  for (const end of ends) end();
  await settled();
  assert.equal(get(svelte.room(client, 'fleet')), 'away', 'what is only looked at joins nothing');
  await settled();
  assert.deepEqual(client.rooms, []);
});

test('RxJS: observables that fail where the room does, and leave when they are unsubscribed', async () => {
  const { firstValueFrom, take, toArray } = await dependency('rxjs');
  const rxjs = await load('rxjs');
  const { pod, client, connect } = world();
  const values = firstValueFrom(rxjs.events$(client, 'chat').pipe(take(2), toArray()));
  const states = [];
  const watching = rxjs.clientState$(client).subscribe(({ kind }) => states.push(kind));
  const maps = [];
  const following = rxjs.map$(client, 'fleet').subscribe((map) => maps.push(dataOf(map)));
  const totals = [];
  const counting = rxjs.presence$(client, 'fleet').subscribe(({ total }) => totals.push(total));
  await settled();
  for (const word of ['one', 'two', 'three']) pod.publish('chat', 'said', word);
  assert.deepEqual(
    (await values).map(({ data }) => data),
    ['one', 'two'],
  );
  assert.deepEqual([states.at(-1), maps.at(-1), totals.at(-1)], ['open', { 'bus-7': 1 }, 1]);
  await assert.rejects(firstValueFrom(rxjs.events$(client, 'closed')), { code: 'forbidden' });
  let newest = {};
  const typing = rxjs.signals$(client, 'chat').subscribe((typing) => (newest = { ...newest, typing }));
  const unread = rxjs.unread$(client, 'chat').subscribe((unread) => (newest = { ...newest, unread }));
  await settled();
  await converses({ pod, connect, unread: () => newest.unread, typing: () => newest.typing });
  for (const subscription of [watching, following, counting, typing, unread]) subscription.unsubscribe();
  await settled();
  assert.deepEqual(client.rooms, []);
});

test('RxJS: events of what is over are not waited for', async () => {
  const { lastValueFrom } = await dependency('rxjs');
  const { events$ } = await load('rxjs');
  const { pod, client } = world();
  const over = new AbortController();
  const open = lastValueFrom(events$(client, 'chat'), { defaultValue: 'complete' });
  await settled();
  over.abort();
  assert.equal(
    await lastValueFrom(events$(client, 'chat', { signal: over.signal }), { defaultValue: 'complete' }),
    'complete',
  );
  const refused = assert.rejects(lastValueFrom(events$(client, 'beside')), { code: 'closed', closeCode: 4003 });
  await settled();
  pod.cut(4003, 'go away');
  await Promise.all([refused, assert.rejects(open, { code: 'closed' })]);
  await assert.rejects(lastValueFrom(events$(client, 'chat')), { code: 'closed', closeCode: 4003 });
  client.close();
});

test('Angular: signals that end with their injector', async () => {
  const { createEnvironmentInjector, runInInjectionContext, computed, isSignal } = await dependency('@angular/core');
  const angular = await load('angular');
  const { pod, client, connect } = world();
  const injector = createEnvironmentInjector([], null);
  const seen = [];
  const [state, room, fleet, here] = runInInjectionContext(injector, () => [
    angular.clientState(client),
    angular.room(client, 'chat', { event: ({ data }) => seen.push(data) }),
    angular.map(client, 'fleet'),
    angular.presence(client, 'chat'),
  ]);
  const count = computed(() => fleet().size);
  await settled();
  assert.ok(isSignal(fleet));
  assert.deepEqual([state().kind, room(), count(), here().total], ['open', 'joined', 1, 1]);
  pod.publish('fleet', 'moved', 5, { key: 'bus-8' });
  pod.publish('chat', 'said', 'hello');
  assert.deepEqual([count(), dataOf(fleet()), seen], [2, { 'bus-7': 1, 'bus-8': 5 }, ['hello']]);
  const [typing, unread] = runInInjectionContext(injector, () => [
    angular.signals(client, 'chat'),
    angular.unread(client, 'chat'),
  ]);
  await settled();
  await converses({ pod, connect, unread, typing });
  injector.destroy();
  await settled();
  assert.deepEqual(client.rooms, []);
});

const REACT = `
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Client } from 'roomcast';
import { useClientState, useMap, usePresence, useRoom, useSignals, useUnread } from 'roomcast/react';
import { TestPod } from 'roomcast/testing';

const pod = new TestPod({ retains: () => true, accepts: (user) => ({ user }) });
const client = new Client({ url: 'https://pod', transports: [pod.transport], storage: null, token: 'ann' });
pod.publish('fleet', 'moved', 1, { key: 'bus-7' });

function Room({ name }) {
  const [said, say] = useState([]);
  const room = useRoom(client, name, { event: ({ data }) => say([...said, data]) });
  const fleet = useMap(client, 'fleet');
  const { total } = usePresence(client, name);
  const { kind } = useClientState(client);
  const { shown, send } = useSignals(client, name);
  const unread = useUnread(client, name, 'beside');
  Object.assign(window, { send, read: unread.read });
  const counts = [unread.total, shown.map(({ user }) => user)];
  return JSON.stringify([name, kind, room, total, [...fleet].map(([key, { data }]) => [key, data]), said, ...counts]);
}
function Page() {
  const [name, setName] = useState('chat');
  Object.assign(window, { setName });
  return name && <Room key={name} name={name} />;
}
Object.assign(window, { pod, client });
createRoot(document.body.appendChild(document.createElement('main'))).render(<StrictMode><Page /></StrictMode>);
`;

/** A page of React in Chromium, and the errors of it. */
async function opened(t, contents) {
  const { build } = await dependency('esbuild');
  const { outputFiles } = await build({
    stdin: { contents, loader: 'jsx', resolveDir: fileURLToPath(folder) },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false,
  });
  const pages = createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html; charset=utf-8');
    answer.end(
      `<!doctype html><title>page</title><body><script type="module">${outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`,
    );
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  t.after(() => pages.close());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(`${error.stack}`));
  page.on('console', (line) => line.type() === 'error' && errors.push(line.text()));
  await page.goto(`http://localhost:${pages.address().port}/`);
  const shows = (what) =>
    page.waitForFunction((text) => document.querySelector('main')?.textContent === text, JSON.stringify(what));
  return { page, shows, errors };
}

test('React: another room is followed with the options of its render', async (t) => {
  const { page, shows } = await opened(
    t,
    `
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Client } from 'roomcast';
import { useMap } from 'roomcast/react';
import { TestPod } from 'roomcast/testing';

const pod = new TestPod({ retains: () => true });
const client = new Client({ url: 'https://pod', transports: [pod.transport], storage: null });
for (const room of ['fleet', 'depot'])
  for (const topic of ['moved', 'parked']) pod.publish(room, topic, 1, { key: room + ' ' + topic });

function Values() {
  const [[room, topic], show] = useState(['fleet', 'moved']);
  Object.assign(window, { show });
  return JSON.stringify([...useMap(client, room, { topics: [topic] }).keys()]);
}
createRoot(document.body.appendChild(document.createElement('main'))).render(<Values />);
`,
  );
  await shows(['fleet moved']);
  await page.evaluate(() => window.show(['depot', 'parked']));
  await shows(['depot parked']);
});

test('React: hooks in StrictMode that join once, follow, and leave', async (t) => {
  const { page, shows, errors } = await opened(t, REACT);
  await shows(['chat', 'open', 'joined', 1, [['bus-7', 1]], [], 0, []]);
  await page.evaluate(() => {
    window.pod.publish('chat', 'said', 'one');
    window.pod.publish('fleet', 'moved', 2, { key: 'bus-7' });
  });
  await shows(['chat', 'open', 'joined', 1, [['bus-7', 2]], ['one'], 1, []]);
  // The newest `event` is called, which knows what was said.
  await page.evaluate(() => window.pod.publish('chat', 'said', 'two'));
  await shows(['chat', 'open', 'joined', 1, [['bus-7', 2]], ['one', 'two'], 2, []]);
  await page.evaluate(() => {
    window.pod.say({ type: 'signal', room: 'chat', topic: 'typing', user: 'bob', ttl: 60_000, time: 1 });
    window.send('typing');
    window.read('chat');
  });
  await shows(['chat', 'open', 'joined', 1, [['bus-7', 2]], ['one', 'two'], 0, ['bob']]);
  const signals = await page.evaluate(() => window.pod.commands.filter(({ type }) => type === 'signal').length);
  assert.equal(signals, 1);
  const joins = await page.evaluate(
    () => window.pod.commands.filter(({ type, room }) => type === 'subscribe' && room === 'chat').length,
  );
  assert.equal(joins, 1, 'StrictMode mounts twice, and joins once');
  await page.evaluate(() => window.setName('other'));
  await shows(['other', 'open', 'joined', 1, [['bus-7', 2]], [], 0, []]);
  const rooms = await page.evaluate(() => window.client.rooms.map(({ name }) => name).sort());
  assert.deepEqual(rooms, ['beside', 'fleet', 'other']);
  await page.evaluate(() => window.setName(''));
  await page.waitForFunction(() => window.client.rooms.length === 0);
  assert.deepEqual(
    errors.filter((text) => !/favicon/.test(text)),
    [],
  );
});
