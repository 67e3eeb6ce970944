// What the chart takes from the cluster that it is installed into, and what it tells its operator: `lookup` over a small API, and NOTES.txt.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { least, render, sets } from '../support/helm.js';
import { withApi } from '../support/kube_api.js';

const aws = (await sets()).find(({ name }) => name === 'aws-nlb');

/** What the values render to in a cluster with these objects. */
const within = (objects, values) =>
  withFolder({}, (home) =>
    withApi(objects, (url) =>
      render(values, {
        more: ['--dry-run=server', '--kube-apiserver', url],
        env: { PATH: process.env.PATH, HOME: home },
      }),
    ),
  );

const deployment = (replicas) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'push-roomcast', namespace: 'edge' },
  spec: { replicas },
});
const namespace = (labels) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'edge', labels } });

/** NOTES.txt, which `helm template` does not print, as an object that shows it. */
const shown = `extraObjects=${JSON.stringify([
  'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  text: {{ include (print $.Template.BasePath "/NOTES.txt") $ | toJson }}',
])}`;
const notes = async (values, objects = []) =>
  (await within(objects, { ...values, json: [...(values.json ?? []), shown] })).one('ConfigMap', 'notes').data.text;
const also = (values, ...more) => ({ ...values, set: [...values.set, ...more] });

test('an upgrade keeps the number of pods that the autoscaler has chosen, within its bounds', async () => {
  const scaled = least('autoscaling.enabled=true', 'autoscaling.minReplicas=3', 'autoscaling.maxReplicas=30');
  for (const [live, wanted] of [
    [[], 3],
    [[deployment(20)], 20],
    [[deployment(1)], 3],
    [[deployment(50)], 30],
  ]) {
    assert.equal((await within(live, scaled)).deployment.spec.replicas, wanted);
  }
  const by = await within([deployment(20)], least('replicaCount=4'));
  assert.equal(by.deployment.spec.replicas, 4, 'without the autoscaler the values decide');
});

test('a self-signed certificate that is there is kept', async () => {
  const data = { 'tls.crt': 'Y2VydGlmaWNhdGU=', 'tls.key': 'a2V5' };
  const kept = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'push-roomcast-tls', namespace: 'edge' }, data };
  const values = least('tls.existingSecret=', 'tls.selfSigned=true');
  assert.deepEqual((await within([kept], values)).one('Secret', '-tls').data, data);
  assert.notDeepEqual((await within([], values)).one('Secret', '-tls').data, data);
});

test('the notes name the Service that clients come over', async () => {
  const mixed = least('service.type=LoadBalancer');
  const service = (await render(mixed)).of('Service').find(({ spec }) => spec.type === 'LoadBalancer').metadata.name;
  assert.match(service, /^push-roomcast-both-[0-9a-f]{6}$/);
  assert.match(await notes(mixed), new RegExp(`get service ${service} -o jsonpath`));
  assert.match(await notes(also(mixed, 'service.protocols=split')), /get service push-roomcast -o jsonpath/);
});

test('the notes warn of an NLB without readiness gates, until the namespace has them', async () => {
  const gates =
    /WARNING: the NLB takes about two minutes .*\n +kubectl label namespace edge elbv2\.k8s\.aws\/pod-readiness-gate-inject=enabled/;
  assert.match(await notes(aws), gates);
  assert.match(await notes(aws, [namespace({})]), gates);
  assert.doesNotMatch(await notes(aws, [namespace({ 'elbv2.k8s.aws/pod-readiness-gate-inject': 'enabled' })]), gates);
  assert.doesNotMatch(await notes(least('service.type=LoadBalancer')), gates);
});

test('the notes warn where connections need more memory than a pod may have, by what their transport costs', async () => {
  const warned = async (...set) => (await notes(least(...set))).match(/a pod may need (\d+) MiB/)?.[1];
  // 35 KiB x 60,000, the budget of 256 MiB, and 64 MiB.
  assert.equal(await warned('configuration.max_connections=60000'), '2370');
  assert.equal(await warned('configuration.max_connections=60000', 'service.protocols=tcp'), undefined);
  assert.equal(await warned('configuration.max_connections=60000', 'resources.limits.memory=2500Mi'), undefined);
  assert.equal(await warned('configuration.max_connections=1000', 'configuration.memory_budget=4GiB'), '4194');
  assert.equal(await warned('autoscaling.enabled=true'), undefined, 'the defaults fit each other');
  assert.equal(await warned('autoscaling.enabled=true', 'autoscaling.connections.target=50000'), '2883');
  assert.equal(await warned(), undefined);
});

test('the notes warn where a network policy keeps backends and Prometheus out', async () => {
  const warned = async (...set) => /keeps backends \(the API\) and Prometheus/.test(await notes(least(...set)));
  const policy = 'networkPolicy.enabled=true';
  assert.deepEqual([await warned(), await warned(policy)], [false, true]);
  const monitoring = 'networkPolicy.internalFrom[0].namespaceSelector.matchLabels.name=monitoring';
  assert.equal(await warned(policy, monitoring), false);
});

const OUT = ['networkPolicy.enabled=true', 'networkPolicy.egress.enabled=true'];
const valued = (set, values) => ({
  ...least(...set),
  json: Object.entries(values).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
});

test('the notes warn of what pods ask elsewhere and no rule lets them reach, by name', async () => {
  const warned = async (values, set = OUT) => {
    const text = await notes(valued(set, values));
    return text.match(/networkPolicy\.egress keeps pods from what (.*) asks: add a rule/)?.[1];
  };
  const of = (configuration) => ({ configuration: { anonymous: true, ...configuration } });
  const to = { 'networkPolicy.egress.to': [{ ports: [{ port: 443, protocol: 'TCP' }] }] };
  const hook = { connect: 'https://b/c', secret: '\u0024{HOOK_SECRET}' };
  for (const [configuration, ...keys] of [
    [{ tokens: { jwks_url: 'https://login.example.com/keys' } }, 'tokens.jwks_url'],
    [{ hooks: { ...hook, absent: 'https://b/a' } }, 'hooks.connect', 'hooks.absent'],
    [{ traces: { otlp_endpoint: 'http://otel:4318' } }, 'traces.otlp_endpoint'],
    [{ chatbots: { servers: ['https://matrix.example.com'] } }, 'chatbots.servers'],
    [{ hocuspocus: { hook: 'https://app.example.com/h' } }, 'hocuspocus.hook'],
  ]) {
    assert.equal(await warned(of(configuration)), keys.map((key) => `configuration.${key}`).join(', '));
    assert.equal(await warned({ ...of(configuration), ...to }), undefined, 'of what a rule opens nothing is known');
    assert.equal(await warned(of(configuration), []), undefined, 'nothing is limited');
  }
  const variable = { extraEnv: [{ name: 'ROOMCAST_TOKENS_JWKS_URL', value: 'https://login.example.com/keys' }] };
  assert.equal(await warned(variable), 'tokens.jwks_url');
  assert.equal(await warned({}), undefined);
});

test('the notes warn where only pods know the address of their home, and the network may keep them from it', async () => {
  const warned = async (values, ...set) => {
    const text = await notes(valued([...OUT, 'redis.urls=null', ...set], values));
    return /keeps pods from their home, whose address only they know .*: set\n +networkPolicy\.egress\.homePorts/.test(
      text,
    );
  };
  const variable = (more) => ({ extraEnv: [{ name: 'ROOMCAST_UPSTREAM', ...more }] });
  const secret = variable({ valueFrom: { secretKeyRef: { name: 's', key: 'k' } } });
  assert.equal(await warned(secret), true);
  assert.equal(await warned(variable({ value: 'wss://\u0024{HOME_HOST}:\u0024{HOME_PORT}' })), true);
  const key = 'upstream.existingSecret=edge-key';
  assert.equal(await warned({ 'upstream.urls': ['wss://a', 'wss://\u0024{B}'] }, key), true);
  assert.equal(await warned({ 'upstream.urls': ['wss://a'] }, key), false);
  assert.equal(await warned(secret, 'networkPolicy.egress.homePorts={9443}'), false);
});
