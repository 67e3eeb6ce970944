// helm as an operator runs it, and the documents that come out.

import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { parseAllDocuments } from 'yaml';

import { run } from './process.js';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const chart = join(root, 'helm/roomcast');

/** The oldest Kubernetes that the chart says it is for, and the one whose schemas are used. */
export const OLDEST = '1.30.0';
export const NEWEST = process.env.KUBERNETES_VERSION;
if (!NEWEST) throw new Error('KUBERNETES_VERSION is not set: run tests/run chart');

/** Those of `values/` with something in front that terminates TLS. */
const PLAIN = ['nginx', 'envoy-gateway'];

/** Those of `values/` that leave nothing open: a home, its edges and relays. */
const WHOLE = ['edge', 'home', 'relay'];

/** The value sets of a folder: `{name, files, set}`; what is needed beside those of `values/` is set. */
export async function sets() {
  const of = async (folder) => (await readdir(join(chart, folder))).map((file) => join(chart, folder, file)).sort();
  const name = (file) => basename(file, '.yaml');
  const least = 'configuration.anonymous=true,redis.urls={redis://redis:6379},apiKeys.existingSecret=keys';
  return [
    ...(await of('ci')).map((file) => ({ name: name(file), files: [file], set: [] })),
    ...(await of('values')).map((file) => ({
      name: name(file),
      files: [file],
      set: WHOLE.includes(name(file))
        ? []
        : [PLAIN.includes(name(file)) ? least : `${least},tls.existingSecret=push-tls`],
    })),
  ];
}

const flags = ({ files = [], set = [], json = [] }) => [
  ...files.flatMap((file) => ['--values', file]),
  ...set.flatMap((text) => ['--set', text]),
  ...json.flatMap((text) => ['--set-json', text]),
];

/** `helm template`; `{code, stdout, stderr}`. */
export const template = (values, { release = 'push', kube = NEWEST, more = [], env = process.env } = {}) => {
  const known = ['--namespace', 'edge', '--kube-version', kube, ...flags(values)];
  return run('helm', ['template', release, chart, ...known, ...more], { env });
};

export const lint = (values) =>
  run('helm', ['lint', '--strict', '--quiet', chart, '--kube-version', NEWEST, ...flags(values)]);

/** What was rendered, by values and options: a cluster that is asked has an address of its own each time. */
const rendered = new Map();

/** What the values render to, parsed. The same values are rendered once. */
export async function render(values, options) {
  const key = JSON.stringify([values, options]);
  if (!rendered.has(key)) rendered.set(key, template(values, options));
  const { code, stdout, stderr } = await rendered.get(key);
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  return new Documents(stdout);
}

/** The least values that the chart takes, with a change. */
export const least = (...set) => ({ files: [join(chart, 'ci/default-values.yaml')], set });

export class Documents {
  constructor(text) {
    this.text = text;
    this.all = parseAllDocuments(text).map((document) => {
      if (document.errors.length) throw document.errors[0];
      return document.toJS();
    });
    this.all = this.all.filter((document) => document !== null);
  }

  /** Those of a kind. */
  of(kind) {
    return this.all.filter((document) => document.kind === kind);
  }

  /** The only one of a kind whose name ends so. */
  one(kind, suffix = '') {
    const found = this.of(kind).filter(({ metadata }) => metadata.name.endsWith(suffix));
    if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind} end in "${suffix}"`);
    return found[0];
  }

  /** The Deployment of the pods, its pod's spec, and its container. */
  get deployment() {
    return this.of('Deployment').find(({ metadata }) => metadata.labels['app.kubernetes.io/component'] === 'pod');
  }
  get pod() {
    return this.deployment.spec.template.spec;
  }
  get container() {
    return this.pod.containers.find(({ name }) => name === 'roomcast');
  }

  /** The configuration file. */
  get toml() {
    const mounted = this.pod.volumes.find(({ name }) => name === 'configuration').configMap.name;
    return this.of('ConfigMap').find(({ metadata }) => metadata.name === mounted).data['roomcast.toml'];
  }

  /** Every pod's spec: of Deployments, of Jobs and of tests. */
  pods() {
    return [
      ...['Deployment', 'Job'].flatMap((kind) =>
        this.of(kind).map((document) => [document.metadata.name, document.spec.template.spec]),
      ),
      ...this.of('Pod').map((document) => [document.metadata.name, document.spec]),
    ];
  }
}

/** The variables of the container, with the values of Secrets: those that are rendered, else those of `known` by name. */
export function environment(documents, known = {}, podIp = '127.0.0.1') {
  const secrets = Object.fromEntries(
    documents.of('Secret').map((secret) => [secret.metadata.name, secret.stringData ?? {}]),
  );
  const variables = {};
  for (const { name, value, valueFrom } of documents.container.env ?? []) {
    if (value !== undefined) variables[name] = value;
    else if (valueFrom.fieldRef?.fieldPath === 'status.podIP') variables[name] = podIp;
    else {
      const { name: secret, key } = valueFrom.secretKeyRef;
      variables[name] = secrets[secret]?.[key] ?? known[name];
      if (variables[name] === undefined) throw new Error(`nobody knows ${name} of the Secret ${secret}`);
    }
  }
  return variables;
}
