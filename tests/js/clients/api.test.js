// The API: the commands of docs/API.md as written.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Client } from '../support/client.js';
import { Pod, curl } from '../support/pod.js';
import { SECRET, token } from '../support/tokens.js';

const config = `
[tokens]
hmac_secrets = ["${SECRET}"]
[[policy]]
match = ["news:*"]
presence = "list"
[[policy]]
match = ["chat:*"]
acks = "keep"
[user_presence]
room = "presence:{user}"
`;

let pod;
before(async () => (pod = await Pod.start({ config })));
after(() => pod?.stop());

/** What stands for whatever came: "…" for any text, and a number for any other, unless its name is one of these. */
const exact = new Set(['offset', 'after', 'end', 'unread', 'members', 'total', 'history_size', 'batch_window_ms']);
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
  for (const [room, events] of [
    ['chat:7', 7],
    ['chat:9', 2],
  ]) {
    for (let n = 0; n < events; n += 1) await pod.publish(room, n);
  }
  // A connection would be one more in the examples.
  const read = JSON.stringify([{ type: 'ack', id: 1, room: 'chat:7', offset: 4 }]);
  const said = await curl(`http://127.0.0.1:${pod.plainPort}/send?token=${token('ann')}`, '--data-binary', read);
  assert.match(said.text, /"done"/);
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
