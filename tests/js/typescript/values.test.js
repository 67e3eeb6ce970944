// The values that a room keeps, as a map shows them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { map } = await load('map');
const { TestClock, TestPod, settled } = await load('testing');

function world() {
  const clock = new TestClock();
  const pod = new TestPod({ clock, retains: () => true });
  const client = new Client({ url: 'https://pod', transports: [pod.transport], clock, storage: null });
  return { pod, client };
}

const dataOf = (values) => Object.fromEntries([...values].map(([key, { data }]) => [key, data]));

test('a value that was taken out by an event of no log comes back with the next event', async () => {
  const { pod, client } = world();
  const fleet = map(client, 'fleet', { removes: ['gone'] });
  await settled();
  pod.publish('fleet', 'moved', 1, { key: 'a' });
  pod.say({ type: 'events', room: 'fleet', events: [{ topic: 'gone', key: 'a', data: null, time: 0 }] });
  assert.deepEqual(dataOf(fleet), {});
  pod.publish('fleet', 'moved', 2, { key: 'a' });
  assert.deepEqual(dataOf(fleet), { a: 2 });
});
