// Signals of the TypeScript client, against a pod in memory, with a clock that the test moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';
import { world } from '../support/world.js';

const { settled } = await load('testing');
const { signals } = await load('signals');

/** What clients sent of signals to a pod. */
const sentTo = (pod) =>
  pod.commands.flatMap(({ type, topic, data, ttl }) => (type === 'signal' ? [[topic, data, ttl]] : []));

const shown = ({ snapshot }) => snapshot.map(({ topic, user, connection, data }) => [topic, user ?? connection, data]);

test('the others see what is shown, one of each sender and topic, until it ends', async () => {
  const { clock, pod, connect, reported } = world();
  const [ann, phone, guest, bob] = [connect('ann'), connect('ann'), connect(), connect('bob')];
  const [a, p, g, b] = [ann, phone, guest, bob].map((client) => signals(client, 'r', { every: 0 }));
  await settled();
  const changes = [];
  b.onChange(() => {
    throw new Error('a listener');
  });
  b.onChange(() => changes.push(shown(b)));
  a.send('typing', { thread: 1 });
  g.send('typing');
  await settled();
  const before = b.snapshot;
  assert.deepEqual(shown(b), [
    ['typing', 'ann', { thread: 1 }],
    ['typing', 'c3', undefined],
  ]);
  assert.equal(b.snapshot, before, 'the same until something changes');
  assert.deepEqual([shown(a).length, shown(p).length, shown(g).length], [1, 1, 1], 'no sender sees its own');
  await clock.advance(100);
  p.send('typing', { thread: 2 });
  a.send('cursor', [1, 2]);
  await settled();
  assert.deepEqual(shown(b), [
    ['typing', 'c3', undefined],
    ['typing', 'ann', { thread: 2 }],
    ['cursor', 'ann', [1, 2]],
  ]);
  assert.equal(before.length, 2, 'a snapshot stays as it is');
  g.stop('typing');
  await settled();
  assert.deepEqual(shown(b).length, 2);
  ann.close();
  await settled();
  assert.deepEqual(shown(b), [['typing', 'ann', { thread: 2 }]], 'what the phone shows stays');
  await clock.advance(6_500);
  assert.deepEqual(shown(b), []);
  assert.equal(changes.length, 7);
  assert.ok(reported.every(({ message }) => message === 'a listener'));
  b.close();
  await settled();
  assert.deepEqual(bob.rooms, []);
  pod.say({ type: 'signal', room: 'r', topic: 'typing', user: 'ann', ttl: 5_000, time: clock.date() });
  assert.deepEqual(shown(b), []);
});

test('an end that is lost is made up for, and old news shows nothing', async () => {
  const { clock, pod, connect } = world();
  const seen = signals(connect('bob'), 'r');
  await settled();
  const say = (ttl, time, more) =>
    pod.say({ type: 'signal', room: 'r', topic: 'typing', user: 'ann', ttl, time, ...more });
  say(5_000, 100);
  await clock.advance(5_500);
  assert.equal(seen.snapshot.length, 1, 'the end may be on its way');
  await clock.advance(600);
  assert.equal(seen.snapshot.length, 0);
  say(5_000, 200, { data: 'newer' });
  say(5_000, 150, { data: 'older' });
  assert.deepEqual(shown(seen), [['typing', 'ann', 'newer']]);
  say(0, 300);
  say(5_000, 250, { data: 'overtaken by its end' });
  assert.deepEqual(shown(seen), []);
  say(5_000, 301, { data: 'anew' });
  assert.deepEqual(shown(seen), [['typing', 'ann', 'anew']]);
});

test('after a cut nothing is known, and of endless senders not all', async () => {
  const { clock, pod, connect } = world();
  const client = connect('bob');
  const seen = signals(client, 'r');
  await settled();
  let changes = 0;
  seen.onChange(() => (changes += 1));
  for (let n = 0; n < 1_500; n++) {
    pod.say({ type: 'signal', room: 'r', topic: 'typing', user: `user-${n}`, ttl: 60_000, time: n });
  }
  assert.equal(seen.snapshot.length, 1_000);
  assert.equal(seen.snapshot.at(-1).user, 'user-1499');
  changes = 0;
  pod.cut();
  assert.deepEqual([seen.snapshot.length, changes], [0, 1]);
  await clock.advance(5_000);
  assert.equal(client.state.kind, 'open');
  pod.say({ type: 'signal', room: 'r', topic: 'typing', user: 'ann', ttl: 5_000, time: 1 });
  assert.equal(seen.snapshot.length, 1);
});

test('at each keystroke it is called, and one a second goes: the newest, and none after the end', async () => {
  const { clock, pod, connect } = world();
  const own = signals(connect('ann'), 'r');
  own.send('typing', 'before it is joined');
  await settled();
  await clock.advance(1_000);
  assert.deepEqual(sentTo(pod), [], 'nothing waits for the room');
  for (let n = 0; n < 25; n++) {
    own.send('typing', n);
    await clock.advance(100);
  }
  assert.deepEqual(
    sentTo(pod).map(([, data]) => data),
    [0, 9, 19],
  );
  own.send('cursor', 'at once', { ttl: 500 });
  own.stop('typing');
  own.stop('typing');
  await clock.advance(5_000);
  assert.deepEqual(sentTo(pod).slice(3), [
    ['cursor', 'at once', 500],
    ['typing', undefined, 0],
  ]);
  own.send('typing', 'again');
  own.close();
  await settled();
  assert.deepEqual(sentTo(pod).slice(5), [
    ['typing', 'again', undefined],
    ['cursor', undefined, 0],
    ['typing', undefined, 0],
  ]);
});

test('what was shown over a connection that ended is not taken back over the next', async () => {
  const { clock, pod, connect } = world();
  const own = signals(connect('ann'), 'r');
  await settled();
  own.send('typing');
  await settled();
  pod.cut();
  own.send('typing', 'while it is away');
  await clock.advance(5_000);
  own.stop('typing');
  await settled();
  assert.deepEqual(sentTo(pod), [['typing', undefined, undefined]]);
});

test('a room that allows no signals says so, and one that was left in between does not', async () => {
  const { clock, pod, connect, reported } = world();
  const own = signals(connect('ann'), 'r', { every: 0 });
  await settled();
  for (const code of ['not_available', 'not_subscribed', 'forbidden']) {
    pod.tamper = (message) =>
      message.type === 'done' ? { type: 'error', id: message.id, code, message: 'no', room: 'r' } : message;
    own.send('typing');
    await clock.advance(0);
  }
  assert.deepEqual(
    reported.map(({ code, room }) => [code, room]),
    [
      ['not_available', 'r'],
      ['forbidden', 'r'],
    ],
  );
  signals(connect('ann'), 'closed').send('typing');
  await settled();
  assert.equal(reported.at(-1).code, 'forbidden');
});
