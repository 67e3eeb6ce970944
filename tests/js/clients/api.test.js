// The API: the commands of docs/API.md as written, and Schemathesis, which makes requests of the OpenAPI document, good
// and bad ones, and compares the answers with it.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';

const support = new URL('../support/', import.meta.url).pathname;
const secret = 'a-secret-of-at-least-thirty-two-bytes';
const config = `[tokens]\nhmac_secrets = ["${secret}"]\n[[policy]]\nmatch = ["news:*"]\npresence = "list"\n`;

/** A token of a user that lasts for an hour (RFC 7519). */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

let pod;
before(async () => (pod = await Pod.start({ config })));
after(() => pod?.stop());

/** What stands for whatever came: "…" for any text, and a number for any other, unless its name is one of these. */
const exact = new Set(['offset', 'after', 'end', 'members', 'total', 'history_size', 'batch_window_ms']);
function masked(value, like, name) {
  if (Array.isArray(value) && Array.isArray(like)) {
    const workers = name === 'workers' ? value.slice(0, like.length) : value;
    return workers.map((item, n) => masked(item, like[n], name));
  }
  if (value && like && typeof value === 'object' && typeof like === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, like[key], key)]));
  }
  if (like === '…' && typeof value === 'string' && value) return like;
  if (typeof like === 'number' && typeof value === 'number' && !exact.has(name)) return like;
  return value;
}

/** Of what changes something every number counts. */
function positions(value, like) {
  return typeof like.connections === 'number' ? value : masked(value, like);
}

test('the commands of docs/API.md answer as written', async (t) => {
  const guide = await readFile(new URL('../../../docs/API.md', import.meta.url), 'utf8');
  const examples = [
    ...guide.matchAll(/\n### `(\w+ \S+)`\n[\s\S]*?\n```sh\n([\s\S]*?)\n```\n(?:```json\n([\s\S]*?)\n```)?/g),
  ];
  assert.equal(examples.length, guide.match(/\n```sh\n/g).length, 'each call has one example');
  const client = await Client.open(pod.tlsUrl);
  await client.subscribe('news:1');
  const ann = await Client.open(pod.tlsUrl, { headers: { Authorization: `Bearer ${token('ann@example.com')}` } });
  const folder = await mkdtemp(join(tmpdir(), 'roomcast-api-'));
  const env = { PATH: process.env.PATH, NO_PROXY: '*', KEY: Pod.key, ID: client.welcome.connection };
  try {
    for (const [, call, command, answer] of examples) {
      await t.test(call, async () => {
        const here = command.replaceAll('http://127.0.0.1:9000', pod.internal);
        assert.notEqual(here, command);
        const { stdout } = await promisify(execFile)('bash', ['-c', here], { cwd: folder, env, timeout: 20_000 });
        const got = answer && (call.startsWith('POST') ? positions : masked)(JSON.parse(stdout), JSON.parse(answer));
        if (answer) assert.deepEqual(got, JSON.parse(answer));
      });
    }
    assert.equal((await client.closed).code, 1012, 'the examples that disconnect do');
    assert.equal((await ann.closed).code, 4003);
    assert.equal(JSON.parse(await readFile(join(folder, 'openapi.json'), 'utf8')).openapi, '3.1.0');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Clients in a few rooms; whoever is sent away comes back. */
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
