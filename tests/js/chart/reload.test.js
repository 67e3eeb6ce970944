// A changed value: taken over by the pods that run, where their keys are live, or by new pods.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { chart, least, render } from '../support/helm.js';
import { run } from '../support/process.js';

const pod = process.env.TEST_POD;
if (!pod) throw new Error('TEST_POD does not say which pod to test: run tests/run chart');

const json = (configuration, ...more) => ({
  ...least(...more),
  json: [`configuration=${JSON.stringify(configuration)}`],
});
const template = async (values) => (await render(values)).deployment.spec.template;
const map = async (values) => (await render(values)).toml;

const BEFORE = {
  anonymous: true,
  limits: { max_rooms: 8 },
  policy: [
    { match: ['a:*'], history_size: 1 },
    { match: ['b:*'], log: 'b', slow: 'close' },
  ],
};

/** A change of the configuration, and which key a pod names for it. */
const LIVE = [
  ['log_level', { log_level: 'debug' }],
  ['origins', { origins: ['https://a.example'] }],
  ['limits.max_rooms', { limits: { max_rooms: 9 } }],
  ['limits.send_queue', { limits: { max_rooms: 8, send_queue: '512KiB' } }],
  ['addresses.max_connections', { addresses: { max_connections: 9 } }],
  ['policy', { policy: [{ match: ['a:*'], history_size: 2 }, BEFORE.policy[1]] }],
  ['policy', { policy: [...BEFORE.policy, { match: ['c:*'], history_size: 2 }] }],
];
const RESTART = [
  ['workers', { workers: 3 }],
  ['webtransport.idle', { webtransport: { idle: '40s' } }],
  ['memory_budget', { memory_budget: '64MiB' }],
  ['policy.log', { policy: [BEFORE.policy[0], { ...BEFORE.policy[1], log: 'c' }] }],
  ['policy.log', { policy: [BEFORE.policy[0], { ...BEFORE.policy[1], match: ['c:*'] }] }],
  // The first that fits a room counts: what stands before one with a log takes rooms from it.
  ['policy.log', { policy: [{ match: ['b:1'] }, ...BEFORE.policy] }],
  ['policy.log', { policy: [BEFORE.policy[1]] }],
  ['legacy', { legacy: [{ channels: ['x'], room: 'x', topic: 'x' }] }],
];

for (const [key, change] of LIVE) {
  test(`${key} reaches pods that run, and rolls none`, async () => {
    assert.notEqual(await map(json({ ...BEFORE, ...change })), await map(json(BEFORE)));
    assert.deepEqual(await template(json({ ...BEFORE, ...change })), await template(json(BEFORE)));
  });
}

for (const [key, change] of RESTART) {
  test(`${key} needs new pods`, async () => {
    const sum = ({ metadata }) => metadata.annotations['checksum/configuration'];
    assert.notEqual(sum(await template(json({ ...BEFORE, ...change }))), sum(await template(json(BEFORE))));
  });
}

test('the pod says of each of these keys what the chart does', async () => {
  for (const [changes, heading] of [
    [LIVE, /^Live: a running pod takes a change over when the file changes \(looked at every 10s\), or on SIGHUP:$/],
    [RESTART, /^A change needs a restart:$/],
  ]) {
    for (const [key, change] of changes) {
      // Without what is mounted: the certificate is none of this test's.
      const toml = (await map(json({ ...BEFORE, ...change }))).replace(/^(cert|key|listen|plain_listen) = .*$/gm, '');
      await withFolder({ 'roomcast.toml': `plain_listen = ["127.0.0.1:0"]\n${toml}` }, async (folder) => {
        const { code, stdout, stderr } = await run(pod, ['check-config', '--config', join(folder, 'roomcast.toml')]);
        assert.equal(code, 0, stderr);
        const lines = stdout.split('\n');
        const at = lines.findIndex((line) => heading.test(line));
        assert.ok(at >= 0, stdout);
        assert.ok(lines[at + 1].trim().split(' ').includes(key), `${key} below ${lines[at]}: ${lines[at + 1]}`);
      });
    }
  }
});

test('without liveReload every change rolls the pods, and none looks at its file', async () => {
  const off = 'liveReload=';
  assert.doesNotMatch(await map(json(BEFORE, off)), /watch_config/);
  assert.match(await map(json(BEFORE)), /^watch_config = "10s"$/m);
  for (const [, change] of [...LIVE, ...RESTART]) {
    assert.notDeepEqual(await template(json({ ...BEFORE, ...change }, off)), await template(json(BEFORE, off)));
  }
});

test('live-keys.json names only keys that a file may have, and not those that the chart decides', async () => {
  const live = JSON.parse(readFileSync(join(chart, 'live-keys.json'), 'utf8'));
  assert.ok(live[''].includes('log_level') && live.limits.length > 5, JSON.stringify(live));
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')).properties.configuration
    .properties;
  for (const [section, keys] of Object.entries(live)) {
    const { properties } = section === '' ? { properties: schema } : schema[section];
    for (const key of keys) assert.ok(properties[key], `${section}.${key}`);
  }
});
