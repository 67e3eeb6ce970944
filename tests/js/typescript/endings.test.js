// What is told when a client ends for good.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { TestClock, TestPod, settled } = await load('testing');

function world(options = {}, of = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, ...of });
  const reported = [];
  const onError = (error) => reported.push(error);
  const client = new Client({
    url: 'https://pod',
    transports: [pod.transport],
    clock,
    storage: null,
    onError,
    ...options,
  });
  return { clock, pod, client, reported };
}

test('a room that was refused is refused when the client ends, and not away', async () => {
  const { pod, client } = world({}, { allows: (room) => room === 'r' });
  const told = { r: [], closed: [] };
  for (const [room, states] of Object.entries(told)) {
    const subscription = client.subscribe(room);
    subscription.onError(() => {});
    subscription.onChange((state) => states.push(state, subscription.state));
  }
  await settled();
  pod.cut(4003, 'go away');
  assert.deepEqual(told.r.slice(-2), ['away', 'away']);
  assert.deepEqual(told.closed.slice(-2), ['refused', 'refused']);
});
