// The checker itself: a run without a fault is clean, and each planted fault is found.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { check } from '../support/checker.js';

const room = 'load:1';
const published = (offset) => ({ step: 'published', room, id: `e${offset}`, epoch: 'a', offset });
const client = (step) => ({ client: '1-1', room, epoch: 'a', ...step });
const events = (after, ...offsets) =>
  client({ step: 'events', after, offset: offsets.at(-1), events: offsets.map((offset) => [offset, `e${offset}`]) });
const joined = (offset, recovered = false) => client({ step: 'subscribed', offset, recovered });
const all = [1, 2, 3, 4, 5].map(published);

const faults = (steps) => {
  const { lost, duplicated, reordered, silent } = check([...all, ...steps]);
  return { lost: lost.length, duplicated: duplicated.length, reordered: reordered.length, silent: silent.length };
};
const clean = { lost: 0, duplicated: 0, reordered: 0, silent: 0 };

test('a run without a fault is clean, over a reconnect too', () => {
  assert.deepEqual(
    faults([joined(0), events(0, 1, 2), client({ step: 'closed' }), joined(2, true), events(2, 3, 4), events(4, 5)]),
    clean,
  );
  assert.equal(check([...all, joined(1), events(1, 2, 3, 4, 5)]).deliveries, 4);
});

test('what was told is not lost', () => {
  assert.deepEqual(
    faults([joined(0), events(0, 1), client({ step: 'gap', after: 1, offset: 3 }), events(3, 4, 5)]),
    clean,
  );
  assert.deepEqual(faults([joined(0), events(0, 1), joined(4), events(4, 5)]), clean);
});

test('planted faults are found', () => {
  assert.deepEqual(faults([joined(0), events(0, 1, 2, 3, 4)]), { ...clean, lost: 1 }, 'the last one is missing');
  assert.deepEqual(faults([joined(0), events(0, 1, 2, 4, 5)]), { ...clean, lost: 1 }, 'one in the middle of a message');
  assert.deepEqual(
    faults([joined(0), events(0, 1), events(3, 4, 5)]),
    { ...clean, lost: 2, silent: 1 },
    'a silent gap',
  );
  assert.deepEqual(faults([joined(0), events(0, 1, 2, 2, 3, 4, 5)]), { ...clean, duplicated: 1 });
  assert.deepEqual(faults([joined(0), events(0, 1, 3, 2, 4, 5)]), { ...clean, reordered: 1 });
  assert.deepEqual(
    faults([joined(0), events(0, 1, 2), joined(3, true), events(3, 4, 5)]),
    { ...clean, lost: 1, silent: 1 },
    'a recovery that lies',
  );
  assert.deepEqual(faults([client({ step: 'open' })]), { ...clean, lost: 1 }, 'never in the room');
  assert.deepEqual(
    faults([published(5), joined(0), events(0, 1, 2, 3, 4, 5)]),
    { ...clean, duplicated: 1 },
    'one position for two',
  );
});
