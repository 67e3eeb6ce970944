// Mistakes in values: each is refused before anything is installed, with a sentence that says where and what.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { parse } from 'yaml';

import { withFolder } from '../support/folder.js';
import { chart, least, render, root, template } from '../support/helm.js';
import { run } from '../support/process.js';

async function refused(values, ...sentences) {
  const { code, stdout, stderr } = await template(values);
  assert.notEqual(code, 0, 'it was taken');
  assert.equal(stdout.trim(), '');
  for (const sentence of sentences) assert.match(stderr, sentence);
}

const json = (text) => ({ ...least(), json: [text] });
const whole = (name, ...set) => ({ files: [join(chart, `values/${name}.yaml`)], set });

const BY_SCHEMA = [
  ['a value that does not exist', least('replicas=3'), /additional properties 'replicas' not allowed/],
  ['a misspelt value below', least('drain.window=60'), /at '\/drain': additional properties 'window' not allowed/],
  [
    'a text where a number belongs',
    json('drain.windowSeconds="1m"'),
    /at '\/drain\/windowSeconds': got string, want integer/,
  ],
  [
    'a kind of Service that there is not',
    least('service.type=Loadbalancer'),
    /at '\/service\/type': value must be one of 'ClusterIP'/,
  ],
  [
    'protocols that there are not',
    least('service.protocols=udp'),
    /at '\/service\/protocols': value must be one of 'mixed', 'split', 'tcp'/,
  ],
  ['a port too large', least('service.port=70000'), /at '\/service\/port': maximum: got 70,?000, want 65,?535/],
  [
    'an annotation that is a number',
    json('service.annotations={"a":5}'),
    /at '\/service\/annotations\/a': got number, want string/,
  ],
  ['an API key with a space', json('apiKeys.values=["a b"]'), /at '\/apiKeys\/values\/0'/],
  [
    'a token secret too short',
    json('tokens.hmac.values=["short"]'),
    /at '\/tokens\/hmac\/values\/0': minLength: got 5, want 32/,
  ],
  ['an image tag that is a number', json('image.tag=1.2'), /at '\/image\/tag': got number, want string/],
  ['an origin with a path', json('configuration.origins=["https://a.example/x"]'), /at '\/configuration\/origins\/0'/],
  [
    'a policy without rooms',
    json('configuration.policy=[{"retain":"key"}]'),
    /at '\/configuration\/policy\/0': missing property 'match'/,
  ],
  ['an address that is not of Redis', json('redis.urls=["http://redis"]'), /at '\/redis\/urls\/0'/],
  ['a preset that there is not', least('preset=live-pols'), /at '\/preset': value must be one of .*'live-polls'/],
  [
    'a misspelt key of the configuration',
    json('configuration.max_conections=5'),
    /at '\/configuration': additional properties 'max_conections' not allowed/,
  ],
  [
    'a misspelt key of a section',
    json('configuration.limits={"max_room":5}'),
    /at '\/configuration\/limits': additional properties 'max_room' not allowed/,
  ],
  [
    'a misspelt section',
    json('configuration.limit={"max_rooms":5}'),
    /at '\/configuration': additional properties 'limit' not allowed/,
  ],
  [
    'a misspelt key of a policy',
    json('configuration.policy=[{"match":["a"],"retian":"key"}]'),
    /at '\/configuration\/policy\/0': additional properties 'retian' not allowed/,
  ],
  [
    'a misspelt key of a dialect, deep down',
    json('configuration.dialect=[{"name":"a","command":[{"does":"ping","topik":"b"}]}]'),
    /at '\/configuration\/dialect\/0\/command\/0': additional properties 'topik' not allowed/,
  ],
  [
    'a word that a key does not have',
    json('configuration.default_policy={"slow":"drop"}'),
    /at '\/configuration\/default_policy\/slow'/,
  ],
  [
    'a number out of its range',
    json('configuration.limits={"max_rooms":0}'),
    /at '\/configuration\/limits\/max_rooms'/,
  ],
  ['a duration without a unit', json('configuration.timeouts={"ping":25}'), /at '\/configuration\/timeouts\/ping'/],
  ['a size that is ambiguous', json('configuration.memory_budget="1GB"'), /at '\/configuration\/memory_budget'/],
  [
    'a home without TLS, whose key could be read on the way',
    whole('edge', 'upstream.urls={ws://home.example.com:9443}'),
    /at '\/upstream\/urls\/0'/,
  ],
  ['a home that is a path', whole('edge', 'upstream.urls={wss://home.example.com/relay}'), /at '\/upstream\/urls\/0'/],
  ['a key of edges with a comma', whole('edge', 'upstream.key=a\\,b'), /at '\/upstream\/key'/],
  [
    'a kind of Service of edges that there is not',
    whole('home', 'relay.service.type=Headless'),
    /at '\/relay\/service\/type'/,
  ],
  [
    'a misspelt value of relays',
    whole('home', 'relay.room={a}'),
    /at '\/relay': additional properties 'room' not allowed/,
  ],
  ['a margin too small', least('drain.marginSeconds=9'), /at '\/drain\/marginSeconds': minimum: got 9, want 10/],
];
for (const [name, values, sentence] of BY_SCHEMA) {
  test(`the schema refuses ${name}`, () =>
    refused(values, /values don't meet the specifications of the schema/, sentence));
}

const BETWEEN = [
  ['nothing decided', { set: [] }, /TLS needs one certificate/, /no client could join/, /2 pods without Redis/],
  ['two certificates', least('tls.selfSigned=true'), /set exactly one of tls\.existingSecret/],
  ['a certificate without TLS', least('tls.enabled=false'), /a certificate is set but tls\.enabled is false/],
  [
    'cert-manager without issuer',
    least('tls.existingSecret=', 'tls.certManager.enabled=true'),
    /set tls\.certManager\.issuerRef\.name/,
    /set tls\.certManager\.dnsNames/,
  ],
  [
    'a password in an address',
    json('redis.urls=["redis://:hunter2@redis"]'),
    /would stand in a ConfigMap: use redis\.password/,
  ],
  ['two Redis', least('redis.trial.enabled=true'), /redis\.trial\.enabled starts a Redis of its own/],
  ['nobody who could join', least('configuration.anonymous=false'), /no client could join/],
  [
    'a listener in the configuration',
    json('configuration.listen=[":1"]'),
    /configuration\.listen is not taken: use tls\.enabled and service\.port/,
  ],
  [
    'a drain in the configuration',
    json('configuration.drain={"window":"5m"}'),
    /configuration\.drain is not taken: use drain\.delaySeconds/,
  ],
  [
    'a secret in the configuration',
    json('configuration.tokens={"hmac_secrets":["0123456789abcdef0123456789abcdef"]}'),
    /configuration\.tokens\.hmac_secrets is not taken: use tokens\.hmac/,
  ],
  [
    'an autoscaler without a request',
    { ...least('autoscaling.enabled=true'), json: ['resources.requests=null'] },
    /set resources\.requests\.cpu/,
  ],
  [
    'an autoscaler with nothing to go by',
    least('autoscaling.enabled=true', 'autoscaling.cpu.enabled=false', 'autoscaling.connections.enabled=false'),
    /needs something to go by/,
  ],
  [
    'more pods at least than at most',
    least('autoscaling.enabled=true', 'autoscaling.minReplicas=20'),
    /minReplicas \(20\) is more than autoscaling\.maxReplicas \(10\)/,
  ],
  ['an ingress without hosts', least('ingress.enabled=true'), /ingress\.enabled needs ingress\.hosts/],
  ['a route without a Gateway', least('httpRoute.enabled=true'), /httpRoute\.enabled needs httpRoute\.parentRefs/],
  [
    'a node port of two Services',
    least('service.type=NodePort', 'service.protocols=split', 'service.nodePort=30443'),
    /cannot be one port of two Services/,
  ],
  [
    'a key file from nowhere',
    least('tokens.publicKeys.files={a.pem}'),
    /tokens\.publicKeys\.files needs tokens\.publicKeys\.existingSecret/,
  ],
  [
    'a port twice in a Service',
    json('service.extraPorts=[{"name":"h3","port":443,"targetPort":8443,"protocol":"UDP"}]'),
    /service\.extraPorts: port 443 is there already/,
  ],
  [
    'a port twice in the container',
    json('extraPorts=[{"name":"quic","containerPort":8443,"protocol":"UDP"}]'),
    /extraPorts: containerPort 8443 is there already/,
  ],
  [
    'a rollout that could never end',
    least('podAntiAffinity=hard', 'strategy.rollingUpdate.maxUnavailable=0'),
    /maxUnavailable is 0, and podAntiAffinity=hard allows one pod a node/,
  ],
  [
    'a rollout that could never end, on the network of nodes',
    least('hostNetwork=true', 'strategy.rollingUpdate.maxUnavailable=0%'),
    /maxUnavailable is 0%, and hostNetwork allows one pod a node/,
  ],
  [
    'a rollout in which no pod may be replaced',
    least('strategy.rollingUpdate.maxUnavailable=0', 'strategy.rollingUpdate.maxSurge=0%'),
    /maxUnavailable and maxSurge are both 0/,
  ],
  [
    'a certificate that is renewed for ever',
    least(
      'tls.existingSecret=',
      'tls.certManager.enabled=true',
      'tls.certManager.issuerRef.name=a',
      'tls.certManager.dnsNames={a}',
      'tls.certManager.duration=144h',
    ),
    /tls\.certManager\.renewBefore \(720h\) is not less than tls\.certManager\.duration \(144h\)/,
  ],
  [
    'an internal port that no probe reaches',
    least('internalService.listen=loopback'),
    /internalService\.listen=loopback is for pods on their node's network/,
  ],
  [
    'a password of the archive in the ConfigMap',
    json('configuration.archive={"password":"hunter2"}'),
    /configuration\.archive\.password is not taken: use archive\.existingSecret/,
  ],
  [
    'an address of the archive with its password in the ConfigMap',
    json('configuration.archive={"url":"postgres://roomcast:hunter2@db/roomcast"}'),
    /configuration\.archive\.url holds a password/,
  ],
  [
    'an archive at two places',
    { ...least('archive.existingSecret=archive'), json: ['configuration.archive={"url":"postgres://db/roomcast"}'] },
    /the address of the archive is set twice/,
  ],
  ['a CA from nowhere', least('redis.ca.file=ca.crt'), /redis\.ca\.file needs/],
  [
    'an edge with Redis',
    whole('edge', 'redis.urls={redis://redis:6379}'),
    /upstream\.urls and redis are both set: an edge keeps nothing of its own/,
  ],
  [
    'an edge with a Redis for trying out',
    whole('edge', 'redis.trial.enabled=true'),
    /upstream\.urls and redis are both set/,
  ],
  [
    'an edge without a key',
    whole('edge', 'upstream.existingSecret='),
    /upstream\.urls needs a key: set upstream\.existingSecret, or upstream\.key, to one of the home's relay\.keys/,
  ],
  ['an edge with two keys', whole('edge', 'upstream.key=another'), /the key of these edges is set twice/],
  ['a key for a home that is nowhere', least('upstream.key=a'), /upstream\.key is set but upstream\.urls is not/],
  [
    'an edge that could make tokens',
    whole('edge', 'tokens.hmac.existingSecret=secrets'),
    /upstream\.urls and tokens\.hmac are both set: .* give edges public keys only/,
  ],
  [
    'presence of users at an edge',
    whole('edge', 'configuration.user_presence.room=presence:{user}'),
    /presence of users does not reach over edges yet/,
  ],
  [
    "a home's address with a secret in it",
    whole('edge', 'upstream.urls={wss://me:hunter2@home}'),
    /an address in upstream\.urls holds a user or a password/,
  ],
  [
    "a home's CA from nowhere",
    whole('edge', 'upstream.ca.file=ca.crt'),
    /upstream\.ca\.file needs upstream\.ca\.existingSecret/,
  ],
  [
    'a home that refuses every edge',
    whole('home', 'relay.keys.existingSecret='),
    /relay\.enabled without a key would refuse every edge/,
  ],
  ['a home with keys in two places', whole('home', 'relay.keys.values={a}'), /the keys of edges are set twice/],
  [
    'a home whose key could be read on the way',
    whole('home', 'tls.enabled=false', 'tls.existingSecret='),
    /relay\.enabled takes edges over TLS, and pods have no certificate/,
  ],
  [
    'a key of edges that is one of the API',
    whole('home', 'relay.keys.existingSecret=', 'relay.keys.values={a,b}', 'apiKeys.values={b}'),
    /a key of relay\.keys is a key of the API too/,
  ],
  [
    'a Secret of edges that is that of the API',
    whole(
      'home',
      'relay.keys.existingSecretKey=keys',
      'apiKeys.existingSecret=edge-keys',
      'apiKeys.existingSecretKey=keys',
    ),
    /a key of relay\.keys is a key of the API too/,
  ],
  [
    'a relay that hands on its own key',
    whole('relay', 'upstream.existingSecret=', 'upstream.key=a', 'relay.keys.existingSecret=', 'relay.keys.values={a}'),
    /upstream\.key is one of relay\.keys\.values/,
  ],
  [
    'what other values decide of a home',
    whole('home', 'configuration.relay.rooms={a}', 'configuration.relay.keys={secret}'),
    /configuration\.relay\.rooms is not taken: use relay\.rooms/,
    /configuration\.relay\.keys is not taken: use relay\.keys, which makes a Secret/,
  ],
  [
    'what other values decide of an edge',
    whole('edge', 'configuration.upstream.urls={wss://a}', 'configuration.upstream.key=secret'),
    /configuration\.upstream\.urls is not taken: use upstream\.urls/,
    /configuration\.upstream\.key is not taken: use upstream\.key or upstream\.existingSecret/,
  ],
  [
    'a port of the container that is that of edges',
    { ...whole('home'), json: ['extraPorts=[{"name":"mine","containerPort":9443,"protocol":"TCP"}]'] },
    /extraPorts: containerPort 9443 is there already/,
  ],
];
for (const [name, values, ...sentences] of BETWEEN) {
  test(`the chart refuses ${name}`, () => refused(values, /cannot be installed with these values/, ...sentences));
}

test('a duration is taken as the pod takes it', async () => {
  for (const ping of ['25s', '1m30s', '500ms'])
    assert.match(
      (await render(json(`configuration.timeouts={"ping":"${ping}"}`))).toml,
      new RegExp(`^ping = "${ping}"$`, 'm'),
    );
});

test('a password is not repeated in the refusal', async () => {
  const edge = whole('edge', 'upstream.urls={wss://me:hunter2@home}');
  for (const values of [json('redis.urls=["redis://:hunter2@redis"]'), edge]) {
    const { code, stderr } = await template(values);
    assert.notEqual(code, 0);
    assert.doesNotMatch(stderr, /hunter2/);
  }
});

test('an older Kubernetes is refused', async () => {
  const { code, stderr } = await template(least(), { kube: '1.29.0' });
  assert.notEqual(code, 0);
  assert.match(stderr, /chart requires kubeVersion: >=1\.30/);
});

test('schema and values.yaml know the same values', () => {
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  const values = parse(readFileSync(join(chart, 'values.yaml'), 'utf8'));
  const missing = [];
  const compare = (schema, values, path) => {
    for (const [key, below] of Object.entries(schema.properties ?? {})) {
      // What Helm itself adds, and keys of the configuration, which are the pod's.
      if (path === '' && key === 'global') continue;
      if (path === '.configuration' || path === '.tls.certManager.issuerRef' || path === '.tokens.publicKeys') continue;
      if (values === null || !(key in (values ?? {}))) missing.push(`${path}.${key}`);
      else compare(below, values[key], `${path}.${key}`);
    }
  };
  compare(schema, values, '');
  assert.deepEqual(missing, []);
});

test('what the README shows can be installed', async () => {
  const readme = readFileSync(join(chart, 'README.md'), 'utf8');
  const command = readme.match(/^\$ helm install push helm\/roomcast (.*)$/m)[1];
  const shown = `helm template push helm/roomcast --kube-version ${process.env.KUBERNETES_VERSION} ${command}`;
  const { code, stderr } = await run('bash', ['-c', shown], { cwd: root });
  assert.equal(code, 0, stderr);
  const values = readme.match(/^```yaml\n(tls:[\s\S]*?)^```$/m)[1];
  await withFolder({ 'values.yaml': values }, async (folder) => {
    const documents = await render({ files: [join(folder, 'values.yaml')] });
    assert.equal(documents.one('Certificate').spec.issuerRef.name, 'letsencrypt');
    assert.match(documents.toml, /^urls = \["redis-cluster:\/\/redis\.data\.svc:6379"\]$/m);
  });
});
