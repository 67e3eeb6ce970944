// Where secrets stand: never in a ConfigMap, and before an installation in the Job that checks the configuration, if `extraObjects` makes them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { chart, least, render, template } from '../support/helm.js';

const { secrets } = JSON.parse(readFileSync(join(chart, 'settings.json'), 'utf8'));
const json = (values) => Object.entries(values).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
const configured = (configuration, more = {}) => ({ ...least(), json: json({ configuration, ...more }) });

/** What the pod fills in from its environment. */
const variable = (name) => `\${${name}}`;

test('no secret of the settings is written into the ConfigMap', async () => {
  const paths = Object.entries(secrets).flatMap(([section, keys]) => keys.map((key) => [section, key]));
  const known = paths.map((path) => path.filter(Boolean).join('.'));
  for (const name of ['hooks.secret', 'socketio.secret', 'redis.password', 'tokens.hmac_secrets', 'api_keys'])
    assert.ok(known.includes(name), `${name} of ${known}`);
  for (const [section, key] of paths) {
    const hidden = 'postgres://a:hunter2hunter2hunter2@db/a';
    for (const value of [hidden, [hidden], `${hidden}\${NAME}`, `\${NAME:-${hidden}}`]) {
      const table = { anonymous: true, ...(section ? { [section]: { [key]: value } } : { [key]: value }) };
      const { code, stderr } = await template(configured(table));
      assert.notEqual(code, 0, `configuration.${section}.${key} was taken`);
      assert.doesNotMatch(stderr, /hunter2/);
    }
  }
});

test('a secret of the settings may come from a variable', async () => {
  const hooks = { subscribe: 'https://backend.example.com', secret: variable('HOOK_SECRET') };
  const documents = await render(
    configured({ anonymous: true, hooks, socketio: { secret: variable('FLEET_SECRET') } }),
  );
  assert.match(documents.toml, /^secret = "\$\{HOOK_SECRET\}"$/m);
  assert.match(documents.toml, /^secret = "\$\{FLEET_SECRET\}"$/m);
  const archive = { url: 'postgres://db/roomcast' };
  assert.match((await render(configured({ anonymous: true, archive }))).toml, /^url = "postgres:\/\/db\/roomcast"$/m);
});

/** The names that a pod's spec needs of Secrets and ConfigMaps before it starts, without those of the same hook. */
function needs(documents) {
  const job = documents.one('Job', '-check').spec.template.spec;
  const hooks = documents.all.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook']?.includes('pre-install'));
  const made = hooks.map(({ metadata }) => metadata.name);
  const [{ env, envFrom = [] }] = job.containers;
  const names = [
    ...env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? valueFrom?.configMapKeyRef?.name ?? []),
    ...envFrom.map(({ secretRef, configMapRef }) => (secretRef ?? configMapRef).name),
    ...job.volumes.flatMap(({ secret, configMap }) => secret?.secretName ?? configMap?.name ?? []),
  ];
  return names.filter((name) => !made.includes(name));
}

const secret = (name, more) => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, ...more });
const OBJECTS = [
  secret('backends', { stringData: { 'api-keys': 'key-one' } }),
  'apiVersion: v1\nkind: Secret\nmetadata: {name: "{{ .Release.Name }}-tokens"}\ndata: {hmac-secrets: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: jwt}\nstringData: {secret: from-jwt}',
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'login' },
    data: { 'login.pem': 'a public key', page: 'a-page' },
  },
];
const EXTRA = {
  extraObjects: OBJECTS,
  extraEnv: [
    { name: 'JWT_SECRET', valueFrom: { secretKeyRef: { name: 'jwt', key: 'secret' } } },
    { name: 'PAGE', valueFrom: { configMapKeyRef: { name: 'login', key: 'page' } } },
    { name: 'OTHER', valueFrom: { secretKeyRef: { name: 'elsewhere', key: 'other' } } },
  ],
};
const wanted = least(
  'apiKeys.existingSecret=backends',
  'tokens.hmac.existingSecret=push-tokens',
  'tokens.publicKeys.existingConfigMap=login',
  'tokens.publicKeys.files={login.pem}',
);

test('the check before an installation waits for nothing that the same release makes', async () => {
  const documents = await render({ ...wanted, json: json(EXTRA) });
  assert.deepEqual(needs(documents), ['elsewhere']);
  const copies = documents.one('Secret', '-check').stringData;
  assert.deepEqual(copies, {
    ROOMCAST_API_KEY: 'key-one',
    ROOMCAST_TOKENS_HMAC_SECRETS: '0123456789abcdef0123456789abcdef',
    JWT_SECRET: 'from-jwt',
  });
  const job = documents.one('Job', '-check').spec.template.spec;
  const page = job.containers[0].env.find(({ name }) => name === 'PAGE');
  assert.deepEqual(page, { name: 'PAGE', value: 'a-page' });
  assert.equal(documents.one('ConfigMap', '-check').data['login.pem'], 'a public key');
  // The pods themselves have what the operator made.
  const own = Object.fromEntries(documents.container.env.map(({ name, valueFrom }) => [name, valueFrom]));
  assert.equal(own.ROOMCAST_API_KEY.secretKeyRef.name, 'backends');
  assert.equal(own.JWT_SECRET.secretKeyRef.name, 'jwt');
});

test('what is not in `extraObjects` must be there before, as ever', async () => {
  const documents = await render({ ...wanted, json: json({ extraEnv: EXTRA.extraEnv }) });
  const names = ['backends', 'push-tokens', 'jwt', 'login', 'elsewhere', 'login'];
  assert.deepEqual(needs(documents).sort(), names.sort());
});
