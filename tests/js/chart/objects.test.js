// What an operator changes in the objects of the chart (`merge`, `patch`), and the Job that asks a pod for its configuration first.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { environment, least, render, sets, template } from '../support/helm.js';
import { run } from '../support/process.js';

const all = await sets();
const everything = all.find(({ name }) => name === 'everything-values');
const json = (...texts) => ({ ...least(), json: texts });

/** The objects by kind and name. */
const byName = ({ all }) => new Map(all.map((object) => [`${object.kind}/${object.metadata.name}`, object]));

async function refused(values, sentence) {
  const { code, stderr } = await template(values);
  assert.notEqual(code, 0, 'it was taken');
  assert.match(stderr, sentence);
}

test('any object can be merged into by its kind and name, and no other one changes', async () => {
  for (const values of [
    everything,
    least('redis.urls=null', 'redis.trial.enabled=true'),
    least('service.type=LoadBalancer'),
  ]) {
    const before = byName(await render(values));
    // Those of `extraObjects` are the operator's own.
    const keys = [...before.keys()].filter((key) => !/-(more|text)$/.test(key));
    assert.ok(keys.length >= 9, `${keys}`);
    const merge = Object.fromEntries(
      keys.map((key) => [key, { metadata: { annotations: { 'example.com/merged': key } } }]),
    );
    const after = byName(await render({ ...values, json: [`merge=${JSON.stringify(merge)}`] }));
    assert.deepEqual([...after.keys()], [...before.keys()]);
    for (const [key, object] of after) {
      const { 'example.com/merged': merged, ...annotations } = object.metadata.annotations ?? {};
      assert.equal(merged, keys.includes(key) ? key : undefined);
      assert.deepEqual(
        { ...object, metadata: { ...object.metadata, annotations } },
        {
          ...before.get(key),
          metadata: { ...before.get(key).metadata, annotations: before.get(key).metadata.annotations ?? {} },
        },
      );
    }
  }
});

test('a merge replaces what is no map, and a null takes away', async () => {
  const merge = {
    Deployment: {
      spec: {
        revisionHistoryLimit: 0,
        template: { spec: { shareProcessNamespace: true, terminationGracePeriodSeconds: null } },
      },
    },
    'Service/internal': {
      spec: { type: 'ClusterIP', publishNotReadyAddresses: false, trafficDistribution: 'PreferClose' },
    },
    PodDisruptionBudget: { spec: { selector: { matchLabels: { more: 'yes' } } } },
  };
  const documents = await render(json(`merge=${JSON.stringify(merge)}`));
  assert.equal(documents.deployment.spec.revisionHistoryLimit, 0);
  assert.equal(documents.pod.shareProcessNamespace, true);
  assert.equal(documents.pod.terminationGracePeriodSeconds, undefined);
  assert.ok(documents.container.image, 'the rest stays');
  const { spec } = documents.one('Service', '-internal');
  assert.deepEqual([spec.publishNotReadyAddresses, spec.trafficDistribution], [false, 'PreferClose']);
  assert.equal(Object.keys(documents.one('PodDisruptionBudget').spec.selector.matchLabels).length, 4);
});

test('a patch adds, replaces, removes and tests, in maps and in lists', async () => {
  const spec = '/spec/template/spec';
  const steps = [
    { op: 'test', path: `${spec}/containers/0/name`, value: 'roomcast' },
    { op: 'add', path: `${spec}/containers/0/args/-`, value: '--log-level=debug' },
    { op: 'add', path: `${spec}/containers/0/args/1`, value: '--workers=2' },
    { op: 'replace', path: `${spec}/containers/0/ports/1/containerPort`, value: 9001 },
    { op: 'remove', path: `${spec}/containers/0/volumeMounts/1` },
    { op: 'remove', path: `${spec}/topologySpreadConstraints` },
    { op: 'add', path: '/metadata/annotations', value: { 'example.com/a~b': 'c' } },
    { op: 'replace', path: '/metadata/annotations/example.com~1a~0b', value: 'd' },
    {
      op: 'test',
      path: `${spec}/containers/0/volumeMounts/0`,
      value: { name: 'configuration', mountPath: '/etc/roomcast', readOnly: true },
    },
  ];
  const documents = await render(json(`patch=${JSON.stringify({ Deployment: steps })}`));
  assert.deepEqual(documents.container.args, [
    'serve',
    '--workers=2',
    '--config=/etc/roomcast/roomcast.toml',
    '--log-level=debug',
  ]);
  assert.deepEqual(
    documents.container.ports.map(({ containerPort }) => containerPort),
    [8443, 9001],
  );
  assert.deepEqual(
    documents.container.volumeMounts.map(({ name }) => name),
    ['configuration'],
  );
  assert.equal(documents.pod.topologySpreadConstraints, undefined);
  assert.deepEqual(documents.deployment.metadata.annotations, { 'example.com/a~b': 'd' });
});

test('a merge or a patch of something that there is not is refused', async () => {
  const patch = (...steps) => json(`patch=${JSON.stringify({ Deployment: steps })}`);
  await refused(
    json('merge={"Deploymnt":{}}'),
    /merge\.Deploymnt is no object of these values; there are: .*Deployment\/push-roomcast/,
  );
  await refused(json('merge={"Service/quick":{}}'), /merge\.Service\/quick is no object .*Service\/push-roomcast-quic/);
  await refused(json('patch={"Ingress":[]}'), /patch\.Ingress is no object/);
  await refused(
    patch({ op: 'replace', path: '/spec/replica', value: 3 }),
    /patch\.Deployment\[0\]: there is no \/spec\/replica/,
  );
  await refused(patch({ op: 'remove', path: '/spec/template/spec/containers/3' }), /there is no .*containers\/3/);
  await refused(
    patch({ op: 'add', path: '/spec/template/spec/containers/3', value: {} }),
    /there is no .*containers\/3/,
  );
  await refused(patch({ op: 'test', path: '/spec/replicas', value: 3 }), /at \/spec\/replicas there is 2, not 3/);
  await refused(patch({ op: 'move', path: '/spec/replicas' }), /at '\/patch\/Deployment\/0\/op': value must be one of/);
});

/** Runs the Job of the documents as a container would: its files in a folder, its variables, its arguments. */
async function check(documents, known = {}) {
  const job = documents.one('Job');
  const { containers, volumes } = job.spec.template.spec;
  const [container] = containers;
  const mounts = new Map(container.volumeMounts.map(({ name, mountPath }) => [name, mountPath]));
  return withFolder({}, async (folder) => {
    const moved = (path) => join(folder, path.replaceAll('/', '_'));
    for (const [name, path] of mounts) {
      await mkdir(moved(path));
      const source = volumes.find((volume) => volume.name === name).configMap;
      const held = documents.of('ConfigMap').find(({ metadata }) => metadata.name === source.name);
      for (const [file, text] of Object.entries(held.data)) await writeFile(join(moved(path), file), text);
    }
    const args = container.args.map((arg) => arg.replace('/etc/roomcast/', `${moved('/etc/roomcast')}/`));
    return run(process.env.TEST_POD, args, {
      cwd: folder,
      env: environment({ ...viewed(documents), container }, known),
    });
  });
}
const viewed = (documents) => ({ of: (kind) => documents.of(kind) });

test('before anything is replaced a Job asks a pod whether it takes the configuration', async () => {
  const values = { ...least('apiKeys.values={a-key-of-the-chart}') };
  const documents = await render(values);
  const job = documents.one('Job');
  assert.equal(job.metadata.annotations['helm.sh/hook'], 'pre-install,pre-upgrade');
  assert.equal(job.spec.backoffLimit, 0);
  // All that it reads comes with it: before an installation nothing else is there.
  const weight = ({ metadata }) => Number(metadata.annotations?.['helm.sh/hook-weight'] ?? 0);
  const { containers, volumes, serviceAccountName } = job.spec.template.spec;
  assert.equal(serviceAccountName, undefined);
  const needed = [
    ...volumes.flatMap(({ configMap }) => (configMap ? [`ConfigMap/${configMap.name}`] : [])),
    ...containers[0].env.flatMap(({ valueFrom }) =>
      valueFrom.secretKeyRef ? [`Secret/${valueFrom.secretKeyRef.name}`] : [],
    ),
  ];
  assert.deepEqual(new Set(needed), new Set(['ConfigMap/push-roomcast-check', 'Secret/push-roomcast-check']));
  const objects = byName(documents);
  for (const name of needed) {
    assert.equal(objects.get(name).metadata.annotations['helm.sh/hook'], 'pre-install,pre-upgrade', name);
    assert.ok(weight(objects.get(name)) < weight(job), name);
  }
  const own = documents.deployment.spec.template.metadata.labels['app.kubernetes.io/component'];
  assert.notEqual(
    job.spec.template.metadata.labels['app.kubernetes.io/component'],
    own,
    'no Service sends clients to it',
  );
  const { labels, annotations } = job.spec.template.metadata;
  assert.deepEqual([labels['sidecar.istio.io/inject'], annotations['linkerd.io/inject']], ['false', 'disabled']);
  const good = await check(documents);
  assert.equal(good.code, 0, good.stdout + good.stderr);
  assert.match(good.stdout, /^API keys +1$/m);
});

test('the Job fails on what only a pod knows to be wrong, and says what', async () => {
  for (const [wrong, sentence] of [
    ['configuration.limits={"max_message":"1KiB","max_head":"17GiB"}', /max_head/],
    ['configuration.tokens={"jwks_url":"ftp://login.example.com"}', /jwks_url/],
    ['configuration.policy=[{"match":["a"],"log":"b c\\u0001"}]', /log/],
    ['extraArgs=["--no-such-flag"]', /no-such-flag/],
  ]) {
    const { code, stderr } = await check(await render(json(wrong)));
    assert.notEqual(code, 0, wrong);
    assert.match(stderr, sentence);
  }
});

test('without the Job nothing of it is there', async () => {
  const documents = await render(least('checkConfiguration.enabled=false'));
  assert.deepEqual(documents.of('Job'), []);
  assert.ok(!documents.text.includes('helm.sh/hook: pre-install') && !documents.text.includes('-check'));
});
