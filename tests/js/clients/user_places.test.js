// How many connections a user may have, as npm `ws` sees it.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { SECRET, token } from '../support/tokens.js';

const config = (full) => `
[tokens]
hmac_secrets = ["${SECRET}"]
[limits]
user_connections = 1
user_connections_full = "${full}"
`;

const TOO_MANY = { code: 4011, reason: 'too many connections of this user' };

test('a user has as many connections as it may, and a reload says which one gives way', async (t) => {
  const pod = await Pod.start({ config: config('refuse_newest') });
  t.after(() => pod.stop());
  const open = (user) => Client.open(pod.tlsUrl, { headers: { Authorization: `Bearer ${token(user)}` } });
  const first = await open('ann');
  await first.subscribe('r');
  assert.deepEqual(await (await open('ann')).closed, TOO_MANY);
  const other = await open('bob');
  await other.subscribe('r');
  await writeFile(join(pod.folder, 'roomcast.toml'), config('close_oldest'));
  pod.process.kill('SIGHUP');
  let ended;
  first.closed.then((end) => (ended = end));
  const crowd = [];
  await until(
    async () => {
      if (!ended) crowd.push(await open('ann'));
      return ended;
    },
    10_000,
    'the oldest connection is still there',
  );
  assert.deepEqual(ended, TOO_MANY);
  // Of those that came, the last one stays.
  const last = crowd.pop();
  for (const client of crowd) assert.deepEqual(await client.closed, TOO_MANY);
  await last.subscribe('r');
  assert.equal(other.ws.readyState, other.ws.OPEN);
});
