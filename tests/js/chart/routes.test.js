// KEDA instead of a HorizontalPodAutoscaler, routes that pass TLS and UDP through, and the region in metrics and alerts.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { least, render, sets, template } from '../support/helm.js';

const all = await sets();
const keda = all.find(({ name }) => name === 'keda-values');
const also = (...set) => ({ ...keda, set: [...keda.set, ...set] });

test('KEDA asks Prometheus for the connections of these pods alone, and takes one pod away at a time', async () => {
  const documents = await render(keda);
  assert.equal(documents.of('HorizontalPodAutoscaler').length, 0, 'KEDA makes it');
  const { spec } = documents.one('ScaledObject');
  assert.equal(spec.scaleTargetRef.name, documents.deployment.metadata.name);
  assert.deepEqual([spec.minReplicaCount, spec.maxReplicaCount], [3, 40]);
  const [connections, cpu, cron] = spec.triggers;
  assert.deepEqual([connections.type, cpu.type, cron.type], ['prometheus', 'cpu', 'cron']);
  const { query, threshold, serverAddress } = connections.metadata;
  assert.deepEqual([threshold, serverAddress], ['20000', 'http://prometheus.monitoring.svc:9090']);
  const [, pods] = query.match(/^sum\(roomcast_connections\{namespace="edge",pod=~"([^"]*)"\}\)$/);
  const matches = (pod) => new RegExp(`^(?:${pods})$`).test(pod);
  const name = documents.deployment.metadata.name;
  assert.ok(
    matches(`${name}-7c9d8b5f6-x2x4z`) && !matches(`${name}-redis-7c9d8b5f6-x2x4z`) && !matches(`other-7c9d-x2x4z`),
  );
  const { scaleDown } = spec.advanced.horizontalPodAutoscalerConfig.behavior;
  const grace = documents.pod.terminationGracePeriodSeconds;
  assert.ok(scaleDown.policies.every(({ value, periodSeconds }) => value === 1 && periodSeconds >= grace));
  assert.equal(spec.fallback.behavior, 'currentReplicasIfHigher', 'a dead Prometheus takes no pod away');
});

test('routes lead to the Services that have these ports', async () => {
  for (const more of [[], ['service.protocols=mixed'], ['service.protocols=mixed', 'service.type=LoadBalancer']]) {
    const documents = await render(also(...more));
    for (const [kind, protocol] of [
      ['TLSRoute', 'TCP'],
      ['UDPRoute', 'UDP'],
    ]) {
      const [backend] = documents.one(kind).spec.rules[0].backendRefs;
      const service = documents.of('Service').find(({ metadata }) => metadata.name === backend.name);
      const has = service?.spec.ports.some(
        (port) => port.port === backend.port && (port.protocol ?? 'TCP') === protocol,
      );
      assert.ok(has, `${kind} ${JSON.stringify(backend)} ${more}`);
    }
    assert.deepEqual(documents.one('TLSRoute').spec.hostnames, ['push.example.com']);
  }
});

test('the region is a label of what is scraped and of every alert', async () => {
  const documents = await render(keda);
  const [endpoint] = documents.one('PodMonitor').spec.podMetricsEndpoints;
  assert.deepEqual(endpoint.relabelings, [{ action: 'replace', targetLabel: 'region', replacement: 'eu-central-1' }]);
  const alerts = documents.one('PrometheusRule').spec.groups[0].rules;
  assert.ok(alerts.length > 10 && alerts.every(({ labels }) => labels.region === 'eu-central-1'));
  const without = await render(also('region='));
  assert.equal(without.one('PodMonitor').spec.podMetricsEndpoints[0].relabelings, undefined);
  assert.ok(without.one('PrometheusRule').spec.groups[0].rules.every(({ labels }) => !('region' in labels)));
});

const routes = (...set) => also(...set);
for (const [what, values, sentence] of [
  ['KEDA without autoscaling', routes('autoscaling.enabled=false'), /set autoscaling\.enabled=true as well/],
  ['KEDA without Prometheus', routes('autoscaling.keda.prometheus='), /set autoscaling\.keda\.prometheus to its URL/],
  [
    'a TLSRoute without names',
    { ...keda, json: ['tlsRoute.hostnames=[]'] },
    /tlsRoute\.enabled needs tlsRoute\.hostnames/,
  ],
  [
    'a UDPRoute without Gateways',
    { ...keda, json: ['udpRoute.parentRefs=[]'] },
    /udpRoute\.enabled needs udpRoute\.parentRefs/,
  ],
  ['a UDPRoute without UDP', routes('service.protocols=tcp'), /udpRoute\.enabled needs UDP/],
  [
    'a TLSRoute to pods without TLS',
    routes('tls.enabled=false', 'tls.existingSecret='),
    /tlsRoute\.enabled brings clients to pods that have TLS/,
  ],
  ['a region with a space', least('region=eu west'), /at '\/region'/],
]) {
  test(`${what} is refused`, async () => {
    const { code, stderr } = await template(values);
    assert.notEqual(code, 0, 'it was taken');
    assert.match(stderr, sentence);
  });
}
