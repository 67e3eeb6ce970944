// What other values open, a NetworkPolicy opens; and a port of the nodes belongs to one Service, over upgrades too.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { least, render, template } from '../support/helm.js';
import { withApi } from '../support/kube_api.js';

const json = (values) => Object.entries(values).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
const policy = async (set, values = {}) =>
  (
    await render({
      ...least('networkPolicy.enabled=true', 'networkPolicy.egress.enabled=true', ...set),
      json: json(values),
    })
  ).one('NetworkPolicy').spec;

test('clients come to every port of the Service for them, and to ports of the nodes', async () => {
  const extra = {
    'service.extraPorts': [
      { name: 'more', port: 9444, targetPort: 9444 },
      { name: 'named', port: 9445, targetPort: 'beside', protocol: 'UDP' },
    ],
    extraPorts: [
      { name: 'beside', containerPort: 9445, protocol: 'UDP' },
      { name: 'host', containerPort: 9446, hostPort: 9446 },
      { name: 'inside', containerPort: 9447 },
    ],
  };
  const { ingress } = await policy([], {
    ...extra,
    'networkPolicy.clientsFrom': [{ ipBlock: { cidr: '192.0.2.0/24' } }],
  });
  const [clients] = ingress.filter(({ ports }) => ports.some(({ port }) => port === 'wss'));
  assert.deepEqual(clients.ports, [
    { port: 'wss', protocol: 'TCP' },
    { port: 8443, protocol: 'UDP' },
    { port: 9444, protocol: 'TCP' },
    { port: 'beside', protocol: 'UDP' },
    { port: 9446, protocol: 'TCP' },
  ]);
  assert.equal(clients.from.length, 1);
});

test('pods may go out to the ports that addresses of Redis and the archive say', async () => {
  const out = async (set, values) => {
    const rules = (await policy(set, values)).egress.filter(({ to, ports }) => !to && ports[0].port !== 53);
    return rules.flatMap(({ ports }) => ports.map(({ port }) => port)).sort();
  };
  for (const [urls, ports] of [
    [['redis://r'], [6379]],
    [['redis://r:6380'], [6379, 6380]],
    [['rediss://[fd00::7]:6390/3'], [6379, 6390]],
    [
      ['redis-cluster://a:7000', 'redis-cluster://c:7002?node=d:7003'],
      [6379, 7000, 7002, 7003],
    ],
    [['redis-sentinel://s?sentinelServiceName=main'], [26379, 6379]],
    [['redis-sentinel://s:5000?sentinelServiceName=main'], [5000, 6379]],
  ]) {
    assert.deepEqual(await out([], { 'redis.urls': urls }), ports.sort(), `${urls}`);
  }
  const one = { 'redis.urls': ['redis://r:6380'], 'networkPolicy.egress.redisPorts': [6380] };
  assert.deepEqual(await out([], one), [6380]);
  const archive = (url) => out([], { configuration: { anonymous: true, archive: { url } } });
  assert.deepEqual(await archive('postgres://db:6432/roomcast'), [5432, 6379, 6432]);
  assert.deepEqual(await archive('postgres://db/roomcast'), [5432, 6379]);
});

test('a home is reached however its address is said', async () => {
  const edge = ['redis.urls=null', 'upstream.existingSecret=edge-key'];
  const out = async (set, values) => {
    const rules = (await policy([...edge, ...set], values)).egress.filter(
      ({ to, ports }) => !to && ports[0].port !== 53,
    );
    assert.ok(
      rules.every(({ ports }) => ports?.length > 0),
      'a rule without a port opens all',
    );
    return rules.flatMap(({ ports }) => ports.map(({ port }) => port)).sort();
  };
  const variable = (value) => ({ extraEnv: [{ name: 'ROOMCAST_UPSTREAM', value }] });
  const secret = { extraEnv: [{ name: 'ROOMCAST_UPSTREAM', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] };
  for (const [urls, ports] of [
    [['wss://home'], [443]],
    [['wss://home/'], [443]],
    [['wss://[fd00::7]'], [443]],
    [['wss://[fd00::7]:9443/'], [9443]],
    [
      ['wss://a:9443', 'wss://b'],
      [443, 9443],
    ],
  ])
    assert.deepEqual(await out([], { 'upstream.urls': urls }), ports, `${urls}`);
  const unnamed = ['upstream.existingSecret='];
  assert.deepEqual(await out(unnamed, variable('wss://a:9443,wss://b:9444')), [9443, 9444]);
  assert.deepEqual(await out([...unnamed, 'extraArgs={--upstream=wss://a:9445}']), [9445]);
  assert.deepEqual(await out([...unnamed, 'networkPolicy.egress.homePorts={9443}'], secret), [9443]);
});

test('ports of Redis and the archive are read wherever their addresses are said', async () => {
  const out = async (values) => {
    const rules = (await policy(['redis.urls=null'], values)).egress.filter(
      ({ to, ports }) => !to && ports[0].port !== 53,
    );
    return rules.flatMap(({ ports }) => ports.map(({ port }) => port)).sort();
  };
  const env = (name, value) => ({ extraEnv: [{ name, value }] });
  assert.deepEqual(await out(env('ROOMCAST_REDIS', 'redis://u:p4@a:6380,rediss://b:6381/3')), [6379, 6380, 6381]);
  assert.deepEqual(
    await out({ extraArgs: ['--redis', 'redis://a:6382', '--redis=redis://b:6383'] }),
    [6379, 6382, 6383],
  );
  const archive = { extraArgs: ['--redis=redis://a', '--archive-url=postgres://u@a:5433,b:5434/db'] };
  assert.deepEqual(await out(archive), [5432, 5433, 5434, 6379]);
  const behind = { extraArgs: ['--redis=redis://a', '--archive-url=postgres:///db?host=a&port=5435'] };
  assert.deepEqual(await out(behind), [5432, 5435, 6379]);
});

const NODES = [
  ['service.nodePort=30443'],
  ['service.nodePort=30443', 'service.port=8443'],
  ['service.nodePort=30443', 'service.protocols=tcp'],
  ['service.nodePort=30443', 'service.type=LoadBalancer'],
  ['service.nodePort=30444'],
  [],
];
const installed = (documents) =>
  documents.of('Service').map((service) => ({ ...service, metadata: { ...service.metadata, namespace: 'edge' } }));

/** The upgrade as Helm makes it: each Service in its order, those that are no more at last. Whose port of the nodes is taken, if one is. */
function collision(before, after) {
  const holders = new Map();
  const ports = ({ spec }) => spec.ports.filter(({ nodePort }) => nodePort).map((p) => `${p.protocol} ${p.nodePort}`);
  for (const service of before) for (const port of ports(service)) holders.set(port, service.metadata.name);
  for (const service of after) {
    const { name } = service.metadata;
    for (const [port, holder] of holders) if (holder === name) holders.delete(port);
    for (const port of ports(service)) {
      if (holders.has(port)) return port;
      holders.set(port, name);
    }
  }
  return null;
}

test('an upgrade that needs a port of the nodes which another Service has is refused before anything changes', async () => {
  let refusals = 0;
  for (const from of NODES) {
    const before = installed(await render(least('service.type=NodePort', ...from)));
    const other = { ...before[0], metadata: { ...before[0].metadata, name: 'other', labels: {} } };
    await withFolder({}, (home) =>
      withApi([...before, other], async (url) => {
        const asked = {
          more: ['--dry-run=server', '--kube-apiserver', url],
          env: { PATH: process.env.PATH, HOME: home },
        };
        for (const to of NODES) {
          const values = least('service.type=NodePort', ...to);
          const taken = collision(before, installed(await render(values)));
          const { code, stderr } = await template(values, asked);
          const where = `${from} -> ${to}: ${taken}: ${stderr}`;
          assert.equal(code === 0, taken === null, where);
          if (taken === null) continue;
          refusals++;
          assert.match(stderr, /service\.nodePort: 30443 is a port of the Service push-roomcast(-both-[0-9a-f]{6})?, /);
          assert.match(
            stderr,
            /take another number, or delete that Service first, .*kubectl -n edge delete service push/,
          );
        }
      }),
    );
  }
  assert.ok(refusals >= 4, `${refusals}`);
});
