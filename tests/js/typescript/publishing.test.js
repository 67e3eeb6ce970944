// What is published is what it was when it was published, whatever becomes of its data while it waits.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';
import { world } from '../support/world.js';

const { commands } = await load('commands');
const { settled } = await load('testing');

const sentTo = (pod, type) => pod.commands.filter((command) => command.type === type);

/** What a promise came to by now. */
async function outcome(promise) {
  let found = 'nothing';
  promise.then(
    (value) => (found = value),
    (error) => (found = error.code),
  );
  await settled();
  return found;
}

test('what waits is what it was when it was published, and the same when it is sent again', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  pod.isUp = false;
  const state = { count: 1 };
  const all = [publish('r', 't', state)];
  state.count = 2;
  all.push(publish('r', 't', state));
  pod.isUp = true;
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  await clock.advance(1_000);
  state.count = 3;
  pod.tamper = undefined;
  pod.cut();
  await clock.advance(10_000);
  assert.deepEqual(await Promise.all(all.map(outcome)), [
    { epoch: 'epoch-1', offset: 1 },
    { epoch: 'epoch-1', offset: 2 },
  ]);
  assert.deepEqual(
    sentTo(pod, 'publish').map(({ data }) => data.count),
    [1, 1, 2],
  );
});

test('what cannot be sent is refused at once, and holds up nothing', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  pod.isUp = false;
  const circle = {};
  circle.circle = circle;
  const all = ['first', circle, 1n, 'last'].map((data) => publish('r', 't', data));
  assert.deepEqual(await Promise.all(all.map(outcome)), ['nothing', undefined, undefined, 'nothing']);
  pod.isUp = true;
  await clock.advance(10_000);
  assert.deepEqual([(await all[0]).offset, (await all[3]).offset], [1, 2]);
});

test('a publish that does not wait fails with the connection, also behind others', async () => {
  const { clock, pod, connect } = world();
  const { publish } = commands(connect('ann'));
  const first = publish('r', 't', 1);
  pod.tamper = (message) => (message.type === 'published' ? undefined : message);
  await settled();
  const behind = publish('r', 't', 2, { offline: 'fail' });
  await settled();
  pod.isUp = false;
  pod.cut();
  assert.equal(await outcome(behind), 'lost');
  pod.isUp = true;
  pod.tamper = undefined;
  await clock.advance(10_000);
  assert.equal((await first).offset, 1);
  assert.deepEqual(
    sentTo(pod, 'publish').map(({ data }) => data),
    [1, 1],
  );
});
