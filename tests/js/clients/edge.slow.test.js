// The short form of `edge/soak.js`: each attack for a moment, with churn. What they leave is nothing, and honest clients are served.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { attackedPod, holdings } from '../edge/field.js';
import { slope, soak } from '../edge/soak.js';
import { until } from '../support/process.js';

describe('attacks, one after another', () => {
  let pod;
  before(async () => {
    pod = await attackedPod('[timeouts]\ntls = "2s"\nhead = "2s"\nbody = "2s"\nwrite = "2s"\nidle = "5s"');
  });
  after(() => pod?.stop());

  test('leave nothing behind', { timeout: 400_000 }, async () => {
    const before = await holdings(pod);
    const { samples, troubles } = await soak(pod, { enough: (round, attacks) => round >= attacks, seconds: 1 });
    assert.deepEqual(troubles, []);
    const attacked = samples.filter(({ did }) => did.opened > 0);
    assert.equal(attacked.length, samples.length, JSON.stringify(samples));
    let now;
    await until(
      async () => {
        now = await holdings(pod);
        return now.connections === 0 && now.held === 0 && now.files <= before.files + 20 && now.rooms <= before.rooms;
      },
      90_000,
      () => `what stays: ${JSON.stringify(now)}, before: ${JSON.stringify(before)}`,
    );
    assert.ok(now.threads <= before.threads + 4, `${now.threads} threads, ${before.threads} before`);
  });
});

test('a slope is what is added an hour', () => {
  const samples = [0, 1, 2, 3].map((hours) => ({ hours, rss: 40 + 5 * hours, files: 20 }));
  assert.equal(slope(samples, 'rss'), 5);
  assert.equal(slope(samples, 'files'), 0);
});
