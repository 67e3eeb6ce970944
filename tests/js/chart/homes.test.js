// A home, its edges and relays as the chart makes them: what each has, what it has not, who may reach whom, and what the documents run.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { environment, least, render, root, sets } from '../support/helm.js';
import { run } from '../support/process.js';

const all = await sets();
const set = (name, ...more) => {
  const found = all.find((values) => values.name === name);
  return { ...found, set: [...found.set, ...more] };
};
/** What stands in a section of a TOML file. */
const section = (toml, name) => toml.split(`\n[${name}]\n`)[1]?.split(/\n\[/)[0].trim();

test('a home takes edges in on a port and a Service of their own', async () => {
  const documents = await render(set('home'));
  assert.equal(section(documents.toml, 'relay'), 'listen = [":9443"]\nrooms = ["news:*", "trip:*"]\ntls = true');
  const { spec } = documents.one('Service', '-relay');
  assert.equal(spec.type, 'LoadBalancer');
  assert.equal(spec.externalTrafficPolicy, 'Local', 'a policy of the network goes by the address of the edge');
  assert.equal(spec.publishNotReadyAddresses, undefined, 'a relay that has no link itself is no home yet');
  assert.deepEqual(
    spec.ports.map(({ port, targetPort }) => [port, targetPort]),
    [[9443, 'relay']],
  );
  for (const service of documents.of('Service').filter(({ metadata }) => !metadata.name.endsWith('-relay')))
    assert.ok(!service.spec.ports.some(({ targetPort }) => targetPort === 'relay'), service.metadata.name);
  const keys = documents.container.env.find(({ name }) => name === 'ROOMCAST_RELAY_KEYS');
  assert.deepEqual(keys.valueFrom.secretKeyRef, { name: 'edge-keys', key: 'edge-keys' });
});

test('without relay.enabled there is no port of edges', async () => {
  const documents = await render(least('networkPolicy.enabled=true', 'relay.keys.values={a}'));
  assert.doesNotMatch(documents.text, /relay/i);
});

test('an edge has no Redis and no secret but the key of its link', async () => {
  const documents = await render(set('edge', 'replicaCount=4'));
  assert.equal(documents.deployment.spec.replicas, 4, 'edges share their rooms at home');
  assert.doesNotMatch(documents.toml, /redis/);
  assert.match(section(documents.toml, 'upstream'), /^urls = \["wss:\/\/home\.example\.com:9443"\]$/m);
  assert.deepEqual(
    documents.container.env.map(({ name, valueFrom }) => [name, valueFrom.secretKeyRef]),
    [['ROOMCAST_UPSTREAM_KEY', { name: 'edge-key', key: 'edge-key' }]],
  );
  assert.equal(documents.of('Secret').length, 0);
});

test('a relay is both, with a key for each side', async () => {
  const documents = await render(set('relay'));
  assert.ok(section(documents.toml, 'relay') && section(documents.toml, 'upstream'), documents.toml);
  const secrets = documents.container.env.map(({ valueFrom }) => valueFrom.secretKeyRef.name);
  assert.deepEqual(secrets.sort(), ['edge-key', 'relay-keys']);
  assert.equal(documents.deployment.spec.replicas, 1, 'each relay has an address of its own');
  assert.equal(documents.of('PodDisruptionBudget').length, 0);
});

test('edges say where they are once they know in which networks the others are', async () => {
  const says = async (...more) => {
    const { container } = await render(set('edge', ...more));
    return container.env.some(({ name }) => name === 'ROOMCAST_ADVERTISE');
  };
  const peers = 'configuration.upstream.peers={10.0.0.0/16}';
  assert.deepEqual([await says(), await says(peers), await says(peers, 'advertise=false')], [false, true, false]);
});

test('the keys and the CA of an edge are not in its ConfigMap', async () => {
  const documents = await render(set('edge-values'));
  const others = JSON.stringify(documents.all.filter(({ kind }) => kind !== 'Secret'));
  for (const secret of ['key-at-the-home', 'key-of-the-region']) assert.ok(!others.includes(secret), secret);
  const env = environment(documents);
  assert.deepEqual([env.ROOMCAST_UPSTREAM_KEY, env.ROOMCAST_RELAY_KEYS], ['key-at-the-home', 'key-of-the-region']);
  assert.match(section(documents.toml, 'upstream'), /^ca = "\/etc\/roomcast-home-ca\/ca\.crt"$/m);
  const { mountPath } = documents.container.volumeMounts.find(({ name }) => name === 'home-ca');
  assert.equal(mountPath, '/etc/roomcast-home-ca');
  assert.equal(documents.pod.volumes.find(({ name }) => name === 'home-ca').configMap.name, 'home-ca');
});

test('the network lets edges to their port, and an edge out to its home and not to Redis', async () => {
  const out = async (values) => {
    const { egress } = (await render(values)).one('NetworkPolicy').spec;
    return egress.flatMap(({ to, ports }) => (to ? [] : ports.map(({ port }) => port)));
  };
  const egress = ['networkPolicy.enabled=true', 'networkPolicy.egress.enabled=true'];
  assert.deepEqual(await out(set('edge-values')), [53, 53, 9443, 443]);
  assert.deepEqual(await out(set('home', ...egress)), [53, 53, 6379]);
  const from = async (values) => {
    const { ingress } = (await render(values)).one('NetworkPolicy').spec;
    return ingress.find(({ ports }) => ports.some(({ port }) => port === 'relay'))?.from;
  };
  const edges = [{ ipBlock: { cidr: '192.0.2.0/24' } }];
  assert.deepEqual(await from(set('everything-values')), edges);
  assert.equal(await from(set('home', 'networkPolicy.enabled=true')), undefined, 'everybody, with a key');
});

test('an edge is ready once it was linked, and is never restarted because its home is away', async () => {
  const { container } = await render(set('edge'));
  assert.equal(container.readinessProbe.httpGet.path, '/ready');
  assert.equal(container.livenessProbe.httpGet.path, '/health');
  assert.equal(
    container.startupProbe.httpGet.path,
    '/health',
    'a home that cannot be reached is no reason to begin anew',
  );
});

test('metrics and alerts carry the region', async () => {
  for (const [name, region] of [
    ['home', 'eu-central-1'],
    ['edge', 'ap-southeast-2'],
    ['relay', 'ap-southeast-2'],
  ]) {
    const documents = await render(set(name, 'metrics.monitor=pod', 'metrics.rules.enabled=true'));
    const [endpoint] = documents.one('PodMonitor').spec.podMetricsEndpoints;
    assert.deepEqual(endpoint.relabelings, [{ action: 'replace', targetLabel: 'region', replacement: region }]);
    const rules = documents.one('PrometheusRule').spec.groups[0].rules;
    assert.ok(rules.length > 5 && rules.every(({ labels }) => labels.region === region), name);
    const has = (alert) => rules.some((rule) => rule.alert === alert);
    assert.deepEqual([has('RoomcastHomeAway'), has('RoomcastEdgesRefused')], [name !== 'home', name !== 'edge']);
  }
});

test('pods are replaced when the home moves or a key changes, and not when other rooms are relayed', async () => {
  const checksums = async (...more) =>
    (await render(set('edge-values', ...more))).deployment.spec.template.metadata.annotations;
  const before = await checksums();
  assert.deepEqual(await checksums('relay.rooms={a}', 'region=elsewhere'), before);
  const moved = await checksums('upstream.urls={wss://elsewhere:9443}');
  assert.notEqual(moved['checksum/configuration'], before['checksum/configuration']);
  for (const key of ['upstream.key=b', 'relay.keys.values={c}'])
    assert.notEqual((await checksums(key))['checksum/keys'], before['checksum/keys'], key);
});

test('what docs/EDGE.md installs can be installed', async () => {
  const text = readFileSync(join(root, 'docs/EDGE.md'), 'utf8').replaceAll(/\\\n\s*/g, '');
  const commands = [...text.matchAll(/^\$ helm install (.*)$/gm)].map(([, rest]) => rest);
  assert.ok(commands.length >= 4, commands.join('\n'));
  for (const rest of commands) {
    const shown = `helm template ${rest} --kube-version ${process.env.KUBERNETES_VERSION}`;
    const { code, stdout, stderr } = await run('bash', ['-c', shown], { cwd: root });
    assert.equal(code, 0, `${shown}\n${stderr}`);
    assert.match(stdout, /\[(relay|upstream)\]/, shown);
  }
});
