// What must hold of the rendered objects together: security, probes, the grace period, ports, secrets, names, metrics.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { chart, environment, least, render, root, sets } from '../support/helm.js';

const all = await sets();
const everything = all.find(({ name }) => name === 'everything-values');

for (const values of all) {
  test(`${values.name}: pods satisfy the Pod Security Standard "restricted"`, async () => {
    const documents = await render(values);
    const pods = documents.pods();
    assert.ok(pods.length >= 1);
    for (const [name, spec] of pods) {
      // The one thing that "restricted" forbids and an operator may ask for by its own switch.
      if (spec.hostNetwork) assert.ok(values.name.startsWith('single'), name);
      for (const key of ['hostPID', 'hostIPC']) assert.ok(!spec[key], `${name} ${key}`);
      assert.equal(spec.securityContext.runAsNonRoot, true, name);
      assert.equal(spec.securityContext.seccompProfile.type, 'RuntimeDefault', name);
      assert.notEqual(spec.securityContext.runAsUser, 0, name);
      assert.equal(spec.automountServiceAccountToken, false, name);
      for (const volume of spec.volumes ?? []) {
        const kind = Object.keys(volume).find((key) => key !== 'name');
        assert.ok(
          [
            'configMap',
            'secret',
            'emptyDir',
            'projected',
            'downwardAPI',
            'csi',
            'persistentVolumeClaim',
            'ephemeral',
          ].includes(kind),
          `${name} ${kind}`,
        );
      }
      for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
        const security = container.securityContext;
        assert.equal(security.allowPrivilegeEscalation, false, container.name);
        assert.deepEqual(security.capabilities.drop, ['ALL'], container.name);
        assert.ok(!security.privileged && !security.capabilities.add, container.name);
        for (const port of container.ports ?? []) assert.equal(port.hostPort, undefined);
        // The chart's own write nowhere; those that an operator adds are theirs.
        if (['roomcast', 'redis', 'publish', 'check'].includes(container.name)) {
          assert.equal(security.readOnlyRootFilesystem, true, container.name);
        }
      }
    }
  });

  test(`${values.name}: three probes, each for itself`, async () => {
    const { container } = await render(values);
    const { startupProbe: startup, livenessProbe: liveness, readinessProbe: readiness } = container;
    for (const probe of [startup, liveness, readiness]) assert.equal(probe.httpGet.port, 'internal');
    assert.equal(startup.httpGet.path, '/health');
    assert.equal(liveness.httpGet.path, '/health', 'a pod is never restarted because of Redis');
    // kube-proxy cuts the UDP flows of what is not ready, and a pod that is full or drains still serves them.
    assert.equal(readiness.httpGet.path, '/ready', 'a full pod is not a dead one');
    assert.ok(startup.failureThreshold * startup.periodSeconds >= 60);
    assert.ok(liveness.failureThreshold * liveness.periodSeconds >= 30);
    assert.ok(readiness.failureThreshold * readiness.periodSeconds <= 10);
  });

  test(`${values.name}: the grace period covers preStop and drain`, async () => {
    const documents = await render(values);
    const seconds = grace(documents);
    assert.equal(
      documents.pod.terminationGracePeriodSeconds,
      seconds.preStop + seconds.delay + seconds.window + seconds.margin,
    );
    for (const scaler of documents.of('HorizontalPodAutoscaler')) {
      for (const { periodSeconds } of scaler.spec.behavior.scaleDown.policies) {
        assert.ok(
          periodSeconds >= documents.pod.terminationGracePeriodSeconds,
          'one pod drains before the next one goes',
        );
      }
    }
  });

  test(`${values.name}: every port that is named exists`, async () => {
    const documents = await render(values);
    const labels = documents.deployment.spec.template.metadata.labels;
    const ports = new Map(documents.container.ports.map(({ name, protocol }) => [name, protocol]));
    const selects = (selector) => Object.entries(selector).every(([key, value]) => labels[key] === value);
    assert.ok(selects(documents.deployment.spec.selector.matchLabels));
    const services = documents.of('Service').filter(({ spec }) => selects(spec.selector));
    assert.ok(services.length >= 2, 'one for clients and the internal one');
    for (const { metadata, spec } of services) {
      for (const port of spec.ports) {
        // UDP is on the number of the TCP port, and by number: the container names each number once.
        if (port.name === 'quic') assert.deepEqual([port.targetPort, ports.get('wss')], [8443, 'TCP']);
        else assert.equal(ports.get(port.targetPort), port.protocol ?? 'TCP', `${metadata.name} ${port.name}`);
      }
      const internal = spec.ports.some(({ targetPort }) => targetPort === 'internal');
      if (internal) assert.equal(spec.type, 'ClusterIP', 'the internal port is never for the open network');
    }
    for (const ingress of documents.of('Ingress')) {
      for (const { http } of ingress.spec.rules) {
        for (const { backend } of http.paths) {
          const service = services.find(({ metadata }) => metadata.name === backend.service.name);
          assert.ok(service.spec.ports.some(({ name }) => name === backend.service.port.name));
        }
      }
    }
    for (const route of documents.of('HTTPRoute')) {
      for (const { name, port } of route.spec.rules.flatMap(({ backendRefs }) => backendRefs)) {
        assert.ok(services.find(({ metadata }) => metadata.name === name).spec.ports.some((own) => own.port === port));
      }
    }
    for (const policy of documents.of('NetworkPolicy')) {
      assert.ok(selects(policy.spec.podSelector.matchLabels));
      for (const port of policy.spec.ingress.flatMap(({ ports }) => ports)) {
        if (port.protocol === 'UDP') assert.equal(port.port, 8443);
        else assert.equal(ports.get(port.port), port.protocol, `${port.port} of the NetworkPolicy`);
      }
    }
    for (const monitor of documents.of('ServiceMonitor')) {
      const matched = services.filter(({ metadata }) =>
        Object.entries(monitor.spec.selector.matchLabels).every(([key, value]) => metadata.labels[key] === value),
      );
      assert.equal(matched.length, 1, 'each pod is scraped once');
      for (const { port } of monitor.spec.endpoints) assert.ok(matched[0].spec.ports.some(({ name }) => name === port));
    }
    for (const monitor of documents.of('PodMonitor')) {
      assert.ok(selects(monitor.spec.selector.matchLabels));
      for (const { port } of monitor.spec.podMetricsEndpoints) assert.equal(ports.get(port), 'TCP');
    }
  });
}

/** The parts of the grace period, in seconds, from what is rendered: not from the values. */
function grace(documents) {
  const drain = (key) =>
    Number(documents.toml.match(new RegExp(`^\\[drain\\]\\n(?:.*\\n)*?${key} = "(\\d+)s"$`, 'm'))[1]);
  const preStop = documents.container.lifecycle?.preStop.sleep.seconds ?? 0;
  const [delay, window] = [drain('delay'), drain('window')];
  const left = documents.pod.terminationGracePeriodSeconds - preStop - delay - window;
  assert.equal(drain('margin'), left, 'the pod knows by when it must be gone');
  return { preStop, delay, window, margin: left };
}

test('the grace period follows the drain', async () => {
  for (const [preStop, delay, window, margin] of [
    [5, 10, 60, 10],
    [0, 0, 0, 10],
    [7, 45, 600, 30],
  ]) {
    const set = Object.entries({
      preStopSeconds: preStop,
      delaySeconds: delay,
      windowSeconds: window,
      marginSeconds: margin,
    });
    const documents = await render(least(...set.map(([key, value]) => `drain.${key}=${value}`)));
    assert.deepEqual(grace(documents), { preStop, delay, window, margin });
    assert.equal(documents.container.lifecycle === undefined, preStop === 0);
  }
});

test('TCP and UDP: one Service, two, or no UDP', async () => {
  const ports = async (...set) => {
    const services = (await render(least(...set)))
      .of('Service')
      .filter(({ metadata }) => !metadata.name.endsWith('-internal'));
    return services.map(({ spec }) => spec.ports.map(({ port, protocol }) => `${protocol} ${port}`));
  };
  assert.deepEqual(await ports(), [['TCP 443'], ['UDP 443']]);
  assert.deepEqual(await ports('service.protocols=split', 'service.port=8443'), [['TCP 8443'], ['UDP 8443']]);
  // What makes one load balancer of one Service has both in it; in the cluster the name stays.
  assert.deepEqual(await ports('service.type=LoadBalancer'), [['TCP 443'], ['TCP 443', 'UDP 443']]);
  assert.deepEqual(await ports('service.type=LoadBalancer', 'service.protocols=split'), [['TCP 443'], ['UDP 443']]);
  assert.deepEqual(await ports('service.protocols=tcp'), [['TCP 443']]);
  assert.deepEqual(await ports('tls.enabled=false', 'tls.existingSecret=', 'service.port=80'), [['TCP 80']]);
  const toml = async (...set) =>
    (await render(least(...set)))
      .of('ConfigMap')
      .map(({ data }) => data['roomcast.toml'])
      .join();
  assert.match(await toml('service.protocols=tcp'), /\[webtransport\]\nenabled = false/);
  assert.doesNotMatch(await toml(), /enabled = false/);
});

test('no secret is in a ConfigMap, an argument or a variable written out', async () => {
  const documents = await render(everything);
  const secrets = ['first-key', '0123456789abcdef0123456789abcdef', 'correct-horse', 'key-of-edges'];
  const own = documents
    .of('Secret')
    .map(({ stringData }) => JSON.stringify(stringData))
    .join();
  for (const secret of secrets) assert.ok(own.includes(secret), secret);
  const others = JSON.stringify(documents.all.filter(({ kind }) => kind !== 'Secret'));
  for (const secret of secrets) assert.ok(!others.includes(secret), secret);
  const env = environment(documents, { ROOMCAST_ARCHIVE_URL: 'postgres://db.example.com/roomcast' });
  assert.equal(env.ROOMCAST_API_KEY, 'first-key,second-key');
  assert.equal(env.ROOMCAST_REDIS_PASSWORD, 'correct-horse');
  assert.equal(env.ROOMCAST_RELAY_KEYS, 'key-of-edges,next-key-of-edges');
});

test('pods are replaced when what they read at start changes, and only then', async () => {
  const checksums = async (...set) => (await render(least(...set))).deployment.spec.template.metadata.annotations;
  const before = await checksums('apiKeys.values={a}');
  assert.deepEqual(await checksums('apiKeys.values={a}', 'service.port=444', 'replicaCount=5'), before);
  const configured = await checksums('apiKeys.values={a}', 'configuration.workers=3');
  assert.notEqual(configured['checksum/configuration'], before['checksum/configuration']);
  assert.equal(configured['checksum/keys'], before['checksum/keys']);
  const keyed = await checksums('apiKeys.values={b}');
  assert.notEqual(keyed['checksum/keys'], before['checksum/keys']);
});

test('certificate and key files are mounted as folders, which are updated', async () => {
  const documents = await render(everything);
  for (const mount of documents.container.volumeMounts) assert.equal(mount.subPath, undefined, mount.name);
  const secret = documents.pod.volumes.find(({ name }) => name === 'certificate').secret.secretName;
  assert.equal(documents.one('Certificate').spec.secretName, secret);
});

test("pods get no variables of the namespace's Services", async () => {
  for (const values of all) {
    for (const [name, spec] of (await render(values)).pods()) assert.equal(spec.enableServiceLinks, false, name);
  }
});

test('numbers, switches, text and tables become what TOML means by them', async () => {
  const json = [
    'configuration.policy=[{"match":["trip:*"],"history_size":1000000,"retain":"key"},{"match":["a \\"b\\" \\\\ <&> é"]}]',
    'configuration.limits={"max_rooms":64,"max_message":"1MiB"}',
    'configuration.compression={"enabled":false}',
    'configuration.tokens={"issuer":null}',
  ];
  const { toml } = await render({ ...least(), json });
  for (const line of [
    'history_size = 1000000',
    'max_rooms = 64',
    'enabled = false',
    'match = ["a \\"b\\" \\\\ <&> é"]',
    'retain = "key"',
  ]) {
    assert.ok(toml.split('\n').includes(line), `${line} in ${toml}`);
  }
  assert.equal(toml.match(/^\[\[policy\]\]$/gm).length, 2);
  assert.ok(!toml.includes('issuer'));
});

test('a preset decides what the values leave open', async () => {
  const { toml } = await render(all.find(({ name }) => name === 'trips-values'));
  assert.doesNotMatch(toml, /anonymous|origins|policy|legacy/);
});

test('names are short enough, and two releases share none', async () => {
  const long = await render({ ...everything, set: ['fullnameOverride='] }, { release: 'a'.repeat(53) });
  for (const { kind, metadata } of long.all) assert.ok(metadata.name.length <= 63, `${kind} ${metadata.name}`);
  const names = async (release) =>
    (await render(least('redis.urls=null', 'redis.trial.enabled=true'), { release })).all.map(
      ({ kind, metadata }) => `${kind} ${metadata.name}`,
    );
  const [one, other] = [await names('one'), await names('other')];
  assert.deepEqual(
    one.filter((name) => other.includes(name)),
    [],
  );
});

test('one pod has no disruption budget, which would keep its node from being emptied', async () => {
  assert.equal((await render(least('replicaCount=1'))).of('PodDisruptionBudget').length, 0);
  assert.equal((await render(least('replicaCount=2'))).one('PodDisruptionBudget').spec.maxUnavailable, 1);
});

test('the autoscaler decides the number of pods, and goes by connections', async () => {
  const documents = await render(all.find(({ name }) => name === 'ticketing-values'));
  // It begins with its least number: without any, an upgrade with Helm 3 would begin with one pod.
  assert.equal(documents.deployment.spec.replicas, 3);
  const { spec } = documents.one('HorizontalPodAutoscaler');
  assert.deepEqual([spec.minReplicas, spec.maxReplicas], [3, 10]);
  assert.deepEqual(
    spec.metrics.map(({ type }) => type),
    ['Pods', 'Resource'],
  );
  assert.deepEqual(documents.container.resources, {
    requests: { cpu: '100m', memory: '128Mi' },
    limits: { cpu: '500m', memory: '512Mi' },
  });
});

test('alerts, the autoscaler and the README name metrics that there are', async () => {
  const operations = readFileSync(join(root, 'docs/OPERATIONS.md'), 'utf8');
  const known = new Set([...operations.matchAll(/roomcast_[a-z_]+/g)].map(([name]) => name));
  const documents = await render(everything);
  const scaler = documents.one('HorizontalPodAutoscaler').spec.metrics[0].pods.metric.name;
  const alerts = documents
    .one('PrometheusRule')
    .spec.groups[0].rules.map((rule) => `${rule.expr} ${rule.annotations?.description}`);
  const text = [scaler, ...alerts, readFileSync(join(chart, 'README.md'), 'utf8')].join('\n');
  const named = new Set([...text.matchAll(/\broomcast_[a-z_]+/g)].map(([name]) => name));
  assert.ok(named.size >= 12, [...named].join());
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  );
});
