// The API as its OpenAPI document has it: Schemathesis makes requests of it, good and bad ones, and compares the answers. It computes for
// minutes: tests/check leaves it to tests/run.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { SECRET, token } from '../support/tokens.js';

const support = new URL('../support/', import.meta.url).pathname;
const config = `[tokens]\nhmac_secrets = ["${SECRET}"]\n[[policy]]\nmatch = ["news:*"]\npresence = "list"\n[user_presence]\nroom = "presence:{user}"\n`;

let pod;
before(async () => (pod = await Pod.start({ config })));
after(() => pod?.stop());

/** Clients in a few rooms; one that is sent away comes back. */
async function audience(url, stop) {
  setMaxListeners(0, stop);
  const stay = async (n) => {
    while (!stop.aborted) {
      const client = await Client.open(
        url,
        n > 2 ? { headers: { Authorization: `Bearer ${token('ann')}` } } : {},
      ).catch(() => null);
      if (client) {
        client.ws.send(JSON.stringify({ type: 'subscribe', room: `news:${n % 3}` }));
        stop.addEventListener('abort', () => client.ws.terminate(), { once: true });
        await client.closed;
      }
      if (!stop.aborted) await sleep(20);
    }
  };
  return Promise.all([0, 1, 2, 3, 4].map(stay));
}

test('Schemathesis finds no answer that the OpenAPI document does not describe', async () => {
  const stop = new AbortController();
  const clients = audience(pod.plainUrl, stop.signal);
  const run = spawn(
    join(dirname(process.env.PYTHON), 'schemathesis'),
    [
      ...['--config-file', join(support, 'schemathesis.toml')],
      ...['run', `${pod.internal}/api/openapi.json`, '-H', `Authorization: Bearer ${Pod.key}`],
      ...['--checks', 'all', '--phases', 'coverage,fuzzing', '--max-examples', '100', '--seed', '1'],
      ...['--generation-database', 'none', '--continue-on-failure', '--no-color'],
    ],
    {
      cwd: pod.folder,
      env: {
        ...{ PATH: process.env.PATH, HOME: pod.folder, NO_PROXY: '*', PYTHONPATH: support },
        ...{ PYTHONDONTWRITEBYTECODE: '1', SCHEMATHESIS_HOOKS: 'schemathesis_hooks' },
        ...{ API_BASE: pod.internal, API_KEY: Pod.key },
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [run.stdout, run.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const code = await new Promise((ended) => run.once('close', ended));
  stop.abort();
  await clients;
  assert.equal(code, 0, output);
  const number = (pattern) => Number(output.match(pattern)?.[1] ?? 0);
  const { text } = await pod.curl('/api/openapi.json');
  const calls = Object.values(JSON.parse(text).paths).flatMap(Object.keys).length;
  // All but the document itself, which it has read.
  assert.equal(number(/Tested: (\d+)/), calls - 1, output);
  assert.ok(number(/Test cases:\n\s+\d+ generated, (\d+) passed/) > 1_000, output);
  // And it was about what exists: events were published, connections found and closed.
  const metrics = (await pod.curl('/metrics')).text;
  const metric = (name) =>
    Number(
      metrics
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.split(' ')
        .at(-1),
    );
  assert.ok(metric('roomcast_events_in_total{source="api"}') > 50, metrics);
  assert.ok(metric('roomcast_disconnects_total{code="4003"}') > 0, metrics);
});
