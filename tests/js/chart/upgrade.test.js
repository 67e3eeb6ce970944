// What an upgrade makes of the Services and the Deployment, from every set of protocols, ports, kinds of Service and autoscaler to every
// other one: Helm 3's own merge, as a program (merge/main.go).

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { least, render } from '../support/helm.js';
import { run } from '../support/process.js';

const merger = process.env.HELM_MERGE;
const skip = merger ? false : 'SKIPPED: the program of tests/js/chart/merge is not there, which Go builds';

const SETS = [];
for (const protocols of ['mixed', 'split', 'tcp'])
  for (const port of [443, 8443])
    for (const type of ['ClusterIP', 'LoadBalancer'])
      for (const scaled of [false, true])
        SETS.push([
          `service.protocols=${protocols}`,
          `service.port=${port}`,
          `service.type=${type}`,
          ...(scaled
            ? ['autoscaling.enabled=true', 'autoscaling.minReplicas=20', 'autoscaling.maxReplicas=40']
            : ['replicaCount=20']),
        ]);
SETS.push(
  ['service.type=NodePort', 'service.nodePort=30443'],
  ['service.type=NodePort', 'service.nodePort=30444'],
  ['tls.enabled=false', 'tls.existingSecret=', 'service.port=80'],
  ['hostNetwork=true', 'podAntiAffinity=hard'],
  ['relay.enabled=true', 'relay.keys.existingSecret=edge-keys', 'relay.service.type=LoadBalancer'],
);

const more = 'service.extraPorts=[{"name":"more","port":9443,"targetPort":9443}]';

/** The merges of all `upgrades`: `[{kind, original, modified, current}]`. */
async function merged(upgrades) {
  const { code, stdout, stderr } = await run(merger, [], { input: JSON.stringify(upgrades) });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** What the API adds to a Service with ports of the nodes: they are the API's, and an upgrade leaves them. */
function asInstalled(object) {
  const installed = structuredClone(object);
  if (object.kind === 'Service' && object.spec.type !== 'ClusterIP')
    for (const [n, port] of installed.spec.ports.entries()) port.nodePort ??= 31_000 + n;
  return installed;
}

const ports = (ports) =>
  ports
    .map(({ name, port, containerPort, targetPort, protocol }) =>
      [name, port ?? containerPort, targetPort, protocol].join(' '),
    )
    .sort();

test('an upgrade with Helm 3 loses no port and no pod, from each set of values to each other one', {
  skip,
}, async () => {
  const rendered = [];
  for (const set of SETS) rendered.push([set, await render(least(...set))]);
  rendered.push([[more], await render({ ...least('service.type=LoadBalancer'), json: [more] })]);
  const upgrades = [];
  for (const [from, before] of rendered) {
    for (const [to, after] of rendered) {
      if (from === to) continue;
      for (const modified of after.all.filter(({ kind }) => kind === 'Service' || kind === 'Deployment')) {
        const { kind, metadata } = modified;
        const original = before.all.find((object) => object.kind === kind && object.metadata.name === metadata.name);
        if (original) upgrades.push({ from, to, kind, original, modified, current: asInstalled(original) });
      }
    }
  }
  assert.ok(upgrades.length > 2000, `${upgrades.length}`);
  for (const [n, { error, merged: made }] of (await merged(upgrades)).entries()) {
    const { from, to, kind, modified } = upgrades[n];
    const where = `${kind} ${modified.metadata.name}: ${from} -> ${to}`;
    assert.equal(error, undefined, where);
    if (kind === 'Service') {
      assert.deepEqual(ports(made.spec.ports), ports(modified.spec.ports), where);
    } else {
      const [is, wanted] = [made, modified].map(({ spec }) => spec.template.spec.containers[0]);
      assert.deepEqual(ports(is.ports), ports(wanted.ports), where);
      assert.ok(made.spec.replicas >= 20 || modified.spec.replicas < 20, `${made.spec.replicas} pods, ${where}`);
      assert.deepEqual(made.spec.strategy, modified.spec.strategy, where);
    }
  }
});

test('TCP and UDP under one number are lost by that merge: the program shows what it is asked for', {
  skip,
}, async () => {
  const service = (...ports) => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec: { ports } });
  const tcp = { name: 'wss', port: 443, targetPort: 'wss', protocol: 'TCP' };
  const udp = { name: 'quic', port: 443, targetPort: 8443, protocol: 'UDP' };
  const [original, modified] = [service(tcp), service(tcp, udp)];
  const [{ merged: made }] = await merged([{ kind: 'Service', original, modified, current: original }]);
  assert.notDeepEqual(ports(made?.spec.ports ?? []), ports(modified.spec.ports));
});

test('tools that render without the cluster can leave the number of pods to the autoscaler', async () => {
  const { deployment } = await render(least('autoscaling.enabled=true', 'autoscaling.omitReplicas=true'));
  assert.equal(deployment.spec.replicas, undefined);
});
