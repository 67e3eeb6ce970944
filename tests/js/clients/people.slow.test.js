// The short form of `people/run.js`: people on two pods of the preset `social` over a real Redis and a real PostgreSQL, cut off again and again
// while a pod is killed; and people that lie, each of which the checker finds.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { people, sift, summary } from '../people/run.js';
import { KINDS } from '../people/verdict.js';

test('nothing is lost, twice or out of order, what is unread is exact, followers are told right', async () => {
  const result = await people({
    users: 60,
    seconds: 9,
    times: { lease: 2_000, debounce: 4_000, repair: 3_000, slack: 3_000 },
    every: { talk: 2_000, read: 2_000, choose: 5_000 },
    notifications: 10,
    cut: 700,
    kill: 3_500,
    down: 500,
    wander: 3_000,
  });
  for (const line of summary(result)) console.log(line);
  const { honest, unfound } = sift(result.verdict);
  for (const kind of KINDS) assert.deepEqual(honest[kind].slice(0, 20), [], kind);
  assert.deepEqual(unfound, [], 'each that lies is found');
});
