// SIGTERM as clients see it: not ready, a hint when to come back, a close with 1012, exit code 0.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';

test('SIGTERM drains', async () => {
  const pod = await Pod.start({ config: '[drain]\ndelay = "500ms"\nwindow = "1s"' });
  const clients = await Promise.all(Array.from({ length: 20 }, () => Client.open(pod.tlsUrl)));
  await Promise.all(clients.map((client) => client.subscribe('plain:drain')));
  const asked = async (path) => (await pod.curl(path).catch(() => ({ status: 0 }))).status;
  const stopped = pod.stop();
  const [accepting, ready] = [new Set(), new Set()];
  const watch = (async () => {
    for (let n = 0; n < 100 && pod.process.exitCode === null; n++) {
      accepting.add(await asked('/accepting'));
      ready.add(await asked('/ready'));
      await sleep(20);
    }
  })();
  for (const client of clients) {
    const { after_ms } = await client.next('reconnect', undefined, 20_000);
    assert.ok(Number.isInteger(after_ms) && after_ms >= 0, `${after_ms}`);
    assert.equal((await client.closed).code, 1012);
  }
  await stopped;
  await watch;
  assert.ok(accepting.has(503), `/accepting answered ${[...accepting]}`);
  // 0: it has ended. What serves until then is never said to be unready.
  assert.ok(ready.has(200) && !ready.has(503), `/ready answered ${[...ready]}`);
});

test('a pod without connections ends at once', async () => {
  const pod = await Pod.start();
  const began = Date.now();
  await pod.stop();
  assert.ok(Date.now() - began < 10_000, `${Date.now() - began} ms`);
});
