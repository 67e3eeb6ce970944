// What the chart renders, whatever is set: documents that Kubernetes takes, and a configuration that a pod takes.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { NEWEST, OLDEST, environment, lint, render, root, sets } from '../support/helm.js';
import { run } from '../support/process.js';

const pod = process.env.TEST_POD;
if (!pod) throw new Error('TEST_POD does not say which pod to test: run tests/run chart');
const schemas = process.env.KUBERNETES_SCHEMAS;
if (!schemas) throw new Error('KUBERNETES_SCHEMAS does not say where the schemas are: run tests/run chart');

const all = await sets();
assert.ok(all.length >= 12, `${all.length} value sets`);

/** The variables that would come from Secrets that are not the chart's. */
const known = {
  ROOMCAST_API_KEY: 'key-one,key-two',
  ROOMCAST_REDIS: 'redis://redis.example.com:6379',
  ROOMCAST_REDIS_PASSWORD: 'a-password',
  ROOMCAST_ARCHIVE_URL: 'postgres://roomcast:a-password@db.example.com/roomcast',
  ROOMCAST_UPSTREAM_KEY: 'key-of-the-home',
  ROOMCAST_RELAY_KEYS: 'key-one-of-edges,key-two-of-edges',
  JWT_SECRET: '0123456789abcdef0123456789abcdef',
};

const publicKey = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });

/** The presets of this build. */
const { stdout: presets } = await run(pod, ['presets']);
assert.match(presets, /ticketing/);

async function kubeconform(text) {
  const location = join(schemas, '{{ .ResourceKind }}{{ .KindSuffix }}.json');
  const args = ['-strict', '-output', 'json', '-summary', '-schema-location', location, '-'];
  const { stdout } = await run('kubeconform', args, { input: text });
  return JSON.parse(stdout);
}

for (const values of all) {
  test(`${values.name}: helm lint --strict`, async () => {
    const { code, stdout, stderr } = await lint(values);
    assert.equal(code, 0, stdout + stderr);
  });

  for (const kube of [OLDEST, NEWEST]) {
    test(`${values.name}: documents that Kubernetes takes (rendered for ${kube})`, async () => {
      const { text, all } = await render(values, { kube });
      const { resources = [], summary } = await kubeconform(text);
      assert.deepEqual(resources, []);
      assert.deepEqual(summary, { valid: all.length, invalid: 0, errors: 0, skipped: 0 });
    });
  }

  test(`${values.name}: a configuration that the pod takes`, async (t) => {
    const documents = await render(values);
    const env = environment(documents, known, 'fd00::7');
    const args = documents.container.args.map((arg) => arg.replace(/^--config=.*/, '--config=roomcast.toml'));
    assert.equal(args.shift(), 'serve');
    const preset = args.find((arg) => arg.startsWith('--preset='))?.slice('--preset='.length);
    if (preset && !presets.includes(preset)) return t.skip(`SKIPPED: this build of roomcast has no preset ${preset}`);
    // What would be mounted lies in the test's folder: the only key file is there as a real one.
    const toml = documents.toml.replaceAll('/etc/roomcast-token-keys/', '');
    await withFolder({ 'roomcast.toml': toml, 'login.pem': publicKey }, async (cwd) => {
      const { code, stdout, stderr } = await run(pod, ['check-config', '--without-certificates', ...args], {
        cwd,
        env,
      });
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /^mode +production$/m);
      const home = /^broker +at a home: wss:\/\/home/m;
      if (documents.toml.includes('[upstream]')) assert.match(stdout, home);
      else if (!values.files[0].includes('single')) assert.match(stdout, /^broker +redis/m);
      // On the network of a node the internal port is not on all of the node's addresses.
      const internal = (said) => said.match(/^internal +http:\/\/(.*)$/m)[1];
      assert.equal(internal(stdout), documents.pod.hostNetwork ? '[fd00::7]:9000' : '[::]:9000');
      if (documents.pod.hostNetwork) {
        const ipv4 = await run(pod, ['check-config', '--without-certificates', ...args], {
          cwd,
          env: environment(documents, known, '10.0.0.7'),
        });
        assert.equal(internal(ipv4.stdout), '10.0.0.7:9000', ipv4.stderr);
      }
      if (values.name === 'default-values') assert.match(stdout, /^ +advertise = "fd00::7"/m);
    });
  });
}

test('a document with a mistake is not taken: the schemas are strict', async () => {
  const { text } = await render(all.find(({ name }) => name === 'default-values'));
  for (const [right, wrong] of [
    ['terminationGracePeriodSeconds: 85', 'terminationGracePeriod: 85'],
    ['containerPort: 8443', 'containerPort: "8443"'],
    ['minReadySeconds: 5', 'minReadySeconds: five'],
  ]) {
    assert.ok(text.includes(right), right);
    const { summary } = await kubeconform(text.replace(right, wrong));
    assert.equal(summary.invalid, 1, wrong);
  }
});

test("the chart's appVersion is the package's version", () => {
  const cargo = readFileSync(join(root, 'Cargo.toml'), 'utf8').match(/^version = "(.*)"$/m)[1];
  const chart = readFileSync(join(root, 'helm/roomcast/Chart.yaml'), 'utf8').match(/^appVersion: "(.*)"$/m)[1];
  assert.equal(chart, cargo);
});

test('the schema knows the keys of the reference and the presets of this build, and only those', async () => {
  const { code, stderr } = await run('node', [join(root, 'helm/schema.mjs'), '--check']);
  assert.equal(code, 0, stderr);
  const { preset } = JSON.parse(readFileSync(join(root, 'helm/roomcast/values.schema.json'), 'utf8')).properties;
  const known = presets.split('\n').flatMap((line) => line.match(/^[a-z0-9-]+/)?.[0] ?? []);
  assert.deepEqual(preset.enum, ['', ...known.sort()]);
});

test('the table of README.md is what values.yaml says', async () => {
  const { code, stderr } = await run('node', [join(root, 'helm/readme.mjs'), '--check']);
  assert.equal(code, 0, stderr);
});

test('a package holds the value sets for load balancers, and not those of the tests', async () => {
  await withFolder({}, async (cwd) => {
    const made = await run('helm', ['package', join(root, 'helm/roomcast')], { cwd });
    assert.equal(made.code, 0, made.stderr);
    const { stdout } = await run('tar', ['-tzf', made.stdout.trim().split(' ').pop()], { cwd });
    const files = stdout.trim().split('\n');
    assert.ok(files.includes('roomcast/values/aws-nlb.yaml'), stdout);
    assert.deepEqual(
      files.filter((file) => file.includes('/ci/')),
      [],
    );
  });
});
