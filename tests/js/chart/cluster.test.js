// The chart, installed into a real Kubernetes API: kube-apiserver and etcd, with real admission. No node is there, so that no pod
// runs; what an API refuses, it refuses here.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { parseAllDocuments } from 'yaml';

import { freePorts } from '../support/ports.js';
import { NEWEST, chart, render, sets } from '../support/helm.js';
import { run } from '../support/process.js';

const there = (
  await Promise.all(
    ['kube-apiserver', 'etcd'].map((name) =>
      run(name, ['--version']).then(
        () => true,
        () => false,
      ),
    ),
  )
).every(Boolean);
const skip = there
  ? false
  : 'SKIPPED: kube-apiserver and etcd are not there; KUBE_APISERVER=build tests/run chart builds them, in some minutes';
const TOKEN = 'admin-of-this-test';

class Cluster {
  #children = [];

  async start() {
    this.folder = await mkdtemp(join(tmpdir(), 'roomcast-cluster-'));
    const [client, peer, secure] = await freePorts(3);
    this.port = secure;
    const own = (name) => join(this.folder, name);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await writeFile(own('signing'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(own('verifying'), publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(own('tokens.csv'), `${TOKEN},admin,1,"system:masters"\n`);
    const etcd = `http://127.0.0.1:${client}`;
    this.#child('etcd', [
      ...[
        '--data-dir',
        own('etcd'),
        '--unsafe-no-fsync',
        '--listen-client-urls',
        etcd,
        '--advertise-client-urls',
        etcd,
      ],
      ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
    ]);
    this.#child('kube-apiserver', [
      ...[
        `--etcd-servers=${etcd}`,
        `--secure-port=${secure}`,
        '--bind-address=127.0.0.1',
        `--cert-dir=${own('certificates')}`,
      ],
      ...[
        '--service-cluster-ip-range=10.0.0.0/24,fd00::/112',
        '--authorization-mode=RBAC',
        `--token-auth-file=${own('tokens.csv')}`,
      ],
      ...['--service-account-issuer=https://kubernetes.default.svc', `--service-account-key-file=${own('verifying')}`],
      `--service-account-signing-key-file=${own('signing')}`,
    ]);
    for (let n = 0; (await this.call('GET', '/readyz').catch(() => ({}))).status !== 200; n++) {
      if (n > 600) throw new Error(`the API is not ready:\n${this.log.slice(-4000)}`);
      await sleep(100);
    }
  }

  log = '';

  #child(program, args) {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (this.log += text));
    this.#children.push(child);
  }

  call(method, path, body) {
    return new Promise((done, failed) => {
      const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
      const sent = request(
        { host: '127.0.0.1', port: this.port, path, method, headers, rejectUnauthorized: false },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (more) => (text += more));
          answer.on('end', () => done({ status: answer.statusCode, text, json: () => JSON.parse(text) }));
        },
      );
      sent.on('error', failed);
      sent.end(body && JSON.stringify(body));
    });
  }

  async create(path, body) {
    const { status, text } = await this.call('POST', path, body);
    assert.ok(status === 201, `${path}: ${status} ${text}`);
  }

  /** A namespace whose pods must satisfy a Pod Security Standard. */
  async namespace(name, standard) {
    const labels = { 'pod-security.kubernetes.io/enforce': standard };
    await this.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
    // A controller would make it.
    await this.create(`/api/v1/namespaces/${name}/serviceaccounts`, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default' },
    });
  }

  /** Without hooks: no node runs the Job that asks a pod for its configuration. */
  helm(...args) {
    const to = [
      '--kube-apiserver',
      `https://127.0.0.1:${this.port}`,
      '--kube-token',
      TOKEN,
      '--kube-insecure-skip-tls-verify',
    ];
    return run('helm', [...args, ...to], { env: { PATH: process.env.PATH, HOME: this.folder } });
  }

  async stop() {
    for (const child of this.#children.reverse()) {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill(child === this.#children[0] ? 'SIGTERM' : 'SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await ended;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

const cluster = new Cluster();
if (there) {
  before(async () => {
    await cluster.start();
    const folder = join(process.env.KUBERNETES_SCHEMAS, '../crds');
    for (const file of await readdir(folder)) {
      for (const document of parseAllDocuments(await readFile(join(folder, file), 'utf8'))) {
        const definition = document.toJS();
        if (definition) await cluster.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', definition);
      }
    }
    // A class that a pod may name must exist.
    const edge = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name: 'edge' }, value: 1000 };
    await cluster.create('/apis/scheduling.k8s.io/v1/priorityclasses', edge);
  });
  after(() => cluster.stop());
}

test(`the API is of Kubernetes ${NEWEST}`, { skip }, async () => {
  assert.equal((await cluster.call('GET', '/version')).json().gitVersion, `v${NEWEST}`);
});

const flags = ({ files, set }) => [...files.flatMap((file) => ['-f', file]), ...set.flatMap((text) => ['--set', text])];

for (const values of await sets()) {
  test(`${values.name}: the API takes every object, and its pods`, { skip }, async () => {
    const namespace = values.name;
    // What "restricted" forbids, hostNetwork, is the point of that set.
    const wide = values.name.startsWith('single');
    await cluster.namespace(namespace, wide ? 'privileged' : 'restricted');
    const { code, stdout, stderr } = await cluster.helm(
      'install',
      'push',
      chart,
      '--no-hooks',
      '-n',
      namespace,
      ...flags(values),
    );
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /violate|unknown field/i);
    assert.match(stdout, new RegExp(`kubectl -n ${namespace} rollout status deployment/`));
    const documents = await render(values);
    for (const [name, spec] of documents.pods()) {
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: `${name}-now` }, spec };
      await cluster.create(`/api/v1/namespaces/${namespace}/pods`, pod);
    }
  });
}

test('the API refuses pods that are not "restricted": the standard is enforced here', { skip }, async () => {
  await cluster.namespace('strict', 'restricted');
  const { pod: spec } = await render((await sets()).find(({ name }) => name === 'single-values'));
  const { status, text } = await cluster.call('POST', '/api/v1/namespaces/strict/pods', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'wide' },
    spec,
  });
  assert.equal(status, 403, text);
  assert.match(text, /violates PodSecurity \\"restricted:latest\\": host namespaces/);
});

test('an upgrade keeps a self-signed certificate, and changes what changed', { skip }, async () => {
  await cluster.namespace('upgraded', 'restricted');
  const values = ['-n', 'upgraded', '-f', join(chart, 'ci/try-values.yaml')];
  const get = async (path) => (await cluster.call('GET', path)).json();
  const certificate = async () => (await get('/api/v1/namespaces/upgraded/secrets/push-roomcast-tls')).data['tls.crt'];
  const deployment = () => get('/apis/apps/v1/namespaces/upgraded/deployments/push-roomcast');
  const { stdout: notes } = await cluster.helm('install', 'push', chart, '--no-hooks', ...values);
  for (const part of [
    'kubectl -n upgraded rollout status deployment/push-roomcast',
    'kubectl -n upgraded get secret push-roomcast-keys',
    'port-forward service/push-roomcast-internal 9000:9000',
    'helm -n upgraded test push',
    'WARNING: the certificate is self-signed',
    'WARNING: this Redis keeps nothing',
    'it drains for 75 s',
  ]) {
    assert.ok(notes.includes(part), `${part} in\n${notes}`);
  }
  const [before, old] = [await certificate(), await deployment()];
  const { code, stderr } = await cluster.helm(
    'upgrade',
    'push',
    chart,
    '--no-hooks',
    ...values,
    '--set',
    'replicaCount=4,configuration.workers=3',
  );
  assert.equal(code, 0, stderr);
  assert.equal(await certificate(), before);
  const now = await deployment();
  assert.equal(now.spec.replicas, 4);
  const sum = ({ spec }) => spec.template.metadata.annotations['checksum/configuration'];
  assert.notEqual(sum(now), sum(old));
  assert.equal((await cluster.helm('uninstall', 'push', '--no-hooks', '-n', 'upgraded')).code, 0);
  assert.deepEqual((await get('/api/v1/namespaces/upgraded/services')).items, []);
});
