// Where pods meet kubelets, load balancers, nodes and gateways: what is asked of whom, and rollouts that can end.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { least, render, root, sets, template } from '../support/helm.js';

const all = await sets();
const set = (name) => all.find((values) => values.name === name);
const also = (values, ...more) => ({ ...values, set: [...values.set, ...more] });

test('backends reach pods that are not ready; clients are not sent there', async () => {
  const documents = await render(least('service.type=LoadBalancer'));
  for (const { metadata, spec } of documents.of('Service')) {
    const internal = metadata.name.endsWith('-internal');
    assert.equal(spec.publishNotReadyAddresses, internal ? true : undefined, metadata.name);
  }
});

test('pods that are not ready are not evicted all at once', async () => {
  const budget = (await render(least())).one('PodDisruptionBudget').spec;
  assert.equal(budget.unhealthyPodEvictionPolicy, 'IfHealthyBudget');
  assert.equal(budget.maxUnavailable, 1);
});

/** Whether a NetworkPolicy lets anything from anywhere to a port of the pod. */
function open(documents, number) {
  const named = new Map(documents.container.ports.map(({ name, containerPort }) => [name, containerPort]));
  return documents
    .of('NetworkPolicy')
    .every(({ spec }) =>
      spec.ingress.some(({ from, ports }) => !from && ports.some(({ port }) => (named.get(port) ?? port) === number)),
    );
}

for (const name of ['aws-nlb']) {
  test(`${name}: the health check passes a NetworkPolicy, and asks whether clients may come`, async () => {
    const documents = await render(also(set(name), 'networkPolicy.enabled=true'));
    const service = documents.of('Service').find(({ spec }) => spec.type === 'LoadBalancer');
    const check = (key) =>
      service.metadata.annotations[`service.beta.kubernetes.io/aws-load-balancer-healthcheck-${key}`];
    assert.equal(check('path'), '/accepting');
    const named = new Map(documents.container.ports.map((port) => [port.name, port.containerPort]));
    const first = service.spec.ports[0].targetPort;
    const port = check('port') === 'traffic-port' ? (named.get(first) ?? first) : Number(check('port'));
    assert.ok(open(documents, port), `port ${port}`);
    // TLS and health both are on that port.
    assert.equal(check('protocol'), 'HTTPS');
    assert.match(documents.toml, /^public_health = true$/m);
    assert.match(documents.toml, /^listen = \[":8443"\]$/m);
    // Until the NLB knows a new target nothing is taken away, with the gates or without.
    const noticed = Number(check('interval')) * Number(check('healthy-threshold'));
    assert.ok(documents.deployment.spec.minReadySeconds >= 120 + noticed);
    const unnoticed = Number(check('interval')) * Number(check('unhealthy-threshold'));
    assert.ok(Number(documents.toml.match(/^delay = "(\d+)s"$/m)[1]) >= unnoticed);
    assert.deepEqual(
      service.spec.ports.map(({ port, protocol }) => `${protocol} ${port}`),
      ['TCP 443', 'UDP 443'],
      'one listener for both needs one Service',
    );
  });
}

test('a NetworkPolicy that names its clients lets in the balancers that are named too', async () => {
  const json = [
    'networkPolicy.clientsFrom=[{"ipBlock":{"cidr":"192.0.2.0/24"}}]',
    'networkPolicy.balancersFrom=[{"ipBlock":{"cidr":"10.0.0.0/16"}}]',
  ];
  const documents = await render({ ...least('networkPolicy.enabled=true'), json });
  const [clients] = documents.one('NetworkPolicy').spec.ingress;
  assert.deepEqual(
    clients.from.map(({ ipBlock }) => ipBlock.cidr),
    ['192.0.2.0/24', '10.0.0.0/16'],
  );
});

test('readiness gates go into pods', async () => {
  const json = ['readinessGates=[{"conditionType":"target-health.elbv2.k8s.aws/a"}]'];
  const { pod } = await render({ ...least(), json });
  assert.deepEqual(pod.readinessGates, [{ conditionType: 'target-health.elbv2.k8s.aws/a' }]);
});

test('where a node can have one pod, one goes before the next one comes', async () => {
  const strategy = async (...more) => (await render(least(...more))).deployment.spec.strategy.rollingUpdate;
  const surge = { maxSurge: '25%', maxUnavailable: 0 };
  const room = { maxSurge: 0, maxUnavailable: 1 };
  assert.deepEqual(await strategy(), surge);
  assert.deepEqual(await strategy('hostNetwork=true'), room);
  assert.deepEqual(await strategy('podAntiAffinity=hard'), room);
  assert.deepEqual(await strategy('strategy.rollingUpdate.maxSurge=2'), { maxSurge: 2 });
  // As values for an earlier chart say it, whose default had to be taken away.
  const before = { ...least(), json: ['strategy={"type":"Recreate","rollingUpdate":null}'] };
  assert.deepEqual((await render(before)).deployment.spec.strategy, { type: 'Recreate' });
  for (const values of all) {
    const { deployment, pod } = await render(values);
    const { type, rollingUpdate } = deployment.spec.strategy;
    const required = 'requiredDuringSchedulingIgnoredDuringExecution';
    if (type === 'Recreate' || !(pod.hostNetwork || pod.affinity?.podAntiAffinity?.[required])) continue;
    assert.ok(rollingUpdate.maxUnavailable >= 1, values.name);
  }
});

/** What Kubernetes makes of a strategy for so many pods: how many may be away, and how many may be too many. */
function fenceposts({ rollingUpdate = {} }, pods) {
  const count = (value = '25%', round) =>
    typeof value === 'number' ? value : round((Number.parseInt(value, 10) * pods) / 100);
  const ahead = count(rollingUpdate.maxSurge, Math.ceil);
  const away = count(rollingUpdate.maxUnavailable, Math.floor);
  return { ahead, away: ahead === 0 && away === 0 ? 1 : away };
}

const onePerNode = {
  hostNetwork: { set: ['hostNetwork=true'] },
  'podAntiAffinity=hard': { set: ['podAntiAffinity=hard'] },
  'a hostPort': { json: ['extraPorts=[{"name":"more","containerPort":9999,"hostPort":9999}]'] },
  affinity: {
    json: [
      `affinity=${JSON.stringify({
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            {
              topologyKey: 'kubernetes.io/hostname',
              labelSelector: { matchLabels: { 'app.kubernetes.io/name': 'roomcast' } },
            },
          ],
        },
      })}`,
    ],
  },
};
for (const [only, { set = [], json = [] }] of Object.entries(onePerNode)) {
  test(`a rollout can end where ${only} allows one pod a node, or its values are refused`, async () => {
    const taken = [];
    for (const strategy of [
      {},
      { type: 'RollingUpdate' },
      { rollingUpdate: { maxSurge: 1 } },
      { rollingUpdate: { maxUnavailable: '25%' } },
      { rollingUpdate: { maxSurge: 0, maxUnavailable: '25%' } },
      { rollingUpdate: { maxSurge: '50%', maxUnavailable: '40%' } },
      { rollingUpdate: { maxUnavailable: 1 } },
    ]) {
      for (const pods of [
        ['replicaCount=2'],
        ['replicaCount=3'],
        ['replicaCount=4'],
        ['autoscaling.enabled=true', 'autoscaling.minReplicas=3', 'autoscaling.maxReplicas=30'],
      ]) {
        const values = { ...least(...set, ...pods), json: [...json, `strategy=${JSON.stringify(strategy)}`] };
        const { code, stderr } = await template(values);
        const where = `${JSON.stringify(strategy)}, ${pods}`;
        const fewest = Number(pods.find((text) => /replicaCount|minReplicas/.test(text)).split('=')[1]);
        const ends = Object.keys(strategy).length === 0 || fenceposts(strategy, fewest).away > 0;
        assert.equal(code === 0, ends, `${where}: ${stderr}`);
        if (!ends) {
          assert.match(stderr, new RegExp(`and ${only} allows one pod a node`), where);
          continue;
        }
        const { spec } = (await render(values)).deployment;
        assert.ok(fenceposts(spec.strategy, spec.replicas).away >= 1, where);
        taken.push(where);
      }
    }
    assert.ok(taken.length >= 14, `${taken.length}`);
  });
}

test('an anti-affinity that does not mean these pods, or not nodes, leaves the rollout as it is', async () => {
  const term = (topologyKey, matchLabels) => ({ topologyKey, labelSelector: { matchLabels } });
  for (const one of [
    term('kubernetes.io/hostname', { app: 'database' }),
    term('topology.kubernetes.io/zone', { 'app.kubernetes.io/name': 'roomcast' }),
  ]) {
    const affinity = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [one] } };
    const { deployment } = await render({ ...least(), json: [`affinity=${JSON.stringify(affinity)}`] });
    assert.deepEqual(deployment.spec.strategy.rollingUpdate, { maxSurge: '25%', maxUnavailable: 0 });
  }
});

test('a Deployment is not given up before its pods are ready for long enough', async () => {
  for (const ready of [0, 5, 3600]) {
    const { minReadySeconds, progressDeadlineSeconds } = (await render(least(`minReadySeconds=${ready}`))).deployment
      .spec;
    assert.equal(minReadySeconds, ready);
    assert.ok(progressDeadlineSeconds >= ready + 300, 'the API asks for more, and a start takes its time');
  }
});

test('on the network of a node the internal port is on the pod address or on loopback', async () => {
  const host = await render(least('hostNetwork=true'));
  assert.match(host.toml, /^internal_listen = \["\[\$\{POD_IP\}\]:9000"\]$/m);
  const ip = host.container.env.find(({ name }) => name === 'POD_IP');
  assert.equal(ip.valueFrom.fieldRef.fieldPath, 'status.podIP');
  const loopback = await render(least('hostNetwork=true', 'internalService.listen=loopback'));
  assert.match(loopback.toml, /^internal_listen = \["127\.0\.0\.1:9000"\]$/m);
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
    assert.equal(loopback.container[probe].httpGet.host, '127.0.0.1');
  assert.ok(!loopback.container.env?.some(({ name }) => name === 'ROOMCAST_ADVERTISE'), 'no pod could reach it there');
  const own = await render(least());
  assert.match(own.toml, /^internal_listen = \[":9000"\]$/m);
  assert.equal(own.container.readinessProbe.httpGet.host, undefined);
});

test('no listener asks for IPv6: nodes without it have pods too', async () => {
  for (const values of all) assert.doesNotMatch((await render(values)).toml, /"\[::1?\]:\d+"/, values.name);
});

test('a route has the time-outs that its values say, and none by itself', async () => {
  const rule = async (values) => (await render(values)).one('HTTPRoute').spec.rules[0];
  assert.equal((await rule(set('live-polls-values'))).timeouts, undefined, 'GKE refuses a route that has any');
  assert.deepEqual((await rule(set('envoy-gateway'))).timeouts, { request: '0s' });
});

test('what the documents say of rollouts is what the model says, with the chart as it is', async () => {
  const text = readFileSync(join(root, 'docs/OPERATIONS.md'), 'utf8');
  const rows = [
    ...text.matchAll(
      /^\| (\d+) \| (\d+%?) \| (\d+) \| ([\d.]+) \| ([\d.]+) times \| ([\d,]+) \| ([\d,]+) \| (\d+) s \|$/gm,
    ),
  ];
  assert.ok(rows.length >= 9, `${rows.length} rows`);
  for (const [row, pods, surge, ready, ...told] of rows) {
    const said = rollout(Number(pods), surge, Number(ready));
    const shown = [
      said.moves.toFixed(2),
      said.fullest.toFixed(2),
      ...[said.all, said.one].map(rounded),
      `${said.seconds}`,
    ];
    assert.deepEqual(told, shown, row);
  }
  const { strategy, minReadySeconds } = (await render(least())).deployment.spec;
  const own = rows.filter(
    ([, , surge, ready]) => surge === strategy.rollingUpdate.maxSurge && Number(ready) === minReadySeconds,
  );
  assert.equal(own.length, 3, 'what the chart does by itself is among them');
});

const rounded = (number) => (Math.round(number / 10) * 10).toLocaleString('en');

/**
 * A rolling update of pods with 50,000 clients each, in steps of a second, as expectations: `surge` new pods are made, each is ready after 4 s
 * and counts after `ready` more; then an old one goes, and the next new one is made. A pod that goes keeps its clients for preStop and
 * delay, then sends them away evenly over the window, to all pods that count and do not go.
 */
function rollout(pods, surge, ready) {
  const [start, wait, window, clients] = [4, 15, 60, 50_000];
  const ahead = surge.endsWith('%') ? Math.ceil((pods * Number.parseInt(surge, 10)) / 100) : Number(surge);
  const counts = Array.from({ length: pods }, (_, n) => (Math.floor(n / ahead) + 1) * (start + ready));
  const old = counts.map((gone) => ({ held: clients, from: 0, gone }));
  const fresh = counts.map((from) => ({ held: 0, from, gone: Infinity }));
  const said = { moves: 0, fullest: 1, all: 0, one: 0, seconds: counts.at(-1) + wait + window };
  for (let now = 0; now < said.seconds; now++) {
    let leaving = 0;
    for (const pod of old) {
      const left = pod.gone + wait + window - now;
      if (left <= 0 || left > window) continue;
      leaving += pod.held / left;
      pod.held -= pod.held / left;
    }
    const open = [...old, ...fresh].filter(({ from, gone }) => from <= now && gone > now);
    for (const pod of open) {
      pod.held += leaving / open.length;
      said.fullest = Math.max(said.fullest, pod.held / clients);
    }
    said.moves += leaving / (pods * clients);
    said.all = Math.max(said.all, leaving);
    said.one = Math.max(said.one, leaving / open.length);
  }
  return said;
}
