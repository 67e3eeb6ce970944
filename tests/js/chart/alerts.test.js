// The alerts: each fires on its fault, none on a healthy pod, whatever the values are. promtool evaluates them over made series.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { least, root, sets } from '../support/helm.js';
import { alerts, groups, lag, links, metric, NO_POD, promtool, skip, target } from '../support/promtool.js';

const everything = (await sets()).find(({ name }) => name === 'everything-values');

/** The series of each alert's fault, and what its labels are beside the pod. */
const FAULTS = {
  RoomcastGone: [NO_POD, { pod: undefined, namespace: 'edge' }],
  RoomcastPodSilent: {
    ...NO_POD,
    'roomcast_build_info{namespace="edge",pod="push-2"}': '1x120',
    [target()]: '0x120',
  },
  RoomcastNotReady: { [metric('roomcast_degraded', ',reason="starting"')]: '1x120' },
  RoomcastRedisDegraded: { [metric('roomcast_redis_degraded')]: '1x120' },
  RoomcastRedisTrouble: [{ [metric('roomcast_redis_trouble', ',reason="full"')]: '1x120' }, { reason: 'full' }],
  RoomcastRedisDeaf: { [metric('roomcast_redis_canary_age_seconds')]: '20x120' },
  RoomcastArchiveDown: { [metric('roomcast_degraded', ',reason="archive"')]: '1x120' },
  RoomcastArchiveUnknown: { [metric('roomcast_archive_unknown')]: '2x120' },
  RoomcastQueuesNearBudget: {
    [metric('roomcast_held_bytes')]: '500000000x120',
    [metric('roomcast_limit', ',limit="memory"')]: '536870912x120',
  },
  RoomcastRefusesConnections: { [metric('roomcast_handshakes_total', ',stage="upgrade",result="full"')]: '0+5x120' },
  RoomcastFilesNearLimit: {
    [metric('roomcast_limit_used', ',limit="files"')]: '950x120',
    [metric('roomcast_limit', ',limit="files"')]: '1000x120',
  },
  RoomcastDrainOverrun: { [metric('roomcast_degraded', ',reason="draining"')]: '1x120' },
  RoomcastRestarts: { [metric('process_start_time_seconds')]: '0x70 1 2 3 4x50' },
  RoomcastGapsRise: {
    [metric('roomcast_dropped_frames_total')]: '0+60x120',
    [metric('roomcast_frames_total')]: '0+6000x120',
  },
  RoomcastFault: { [metric('roomcast_disconnects_total', ',code="1011"')]: '0+1x120' },
  RoomcastClientsTooSlow: { [metric('roomcast_disconnects_total', ',code="4008"')]: '0+120x120' },
  RoomcastCannotKeepUp: { [metric('roomcast_stream_holes_total')]: '0+60x120' },
  RoomcastFilesBroken: [{ [metric('roomcast_token_keys_broken')]: '1x120' }, { files: 'token_keys' }],
  RoomcastHookFails: [
    {
      [metric('roomcast_hook_questions_total', ',hook="connect",result="failed"')]: '0+6x120',
      [metric('roomcast_hook_questions_total', ',hook="connect",result="allowed"')]: '0+60x120',
      [metric('roomcast_hook_questions_total', ',hook="publish",result="denied"')]: '0+60x120',
    },
    { hook: 'connect' },
  ],
  RoomcastCertificateExpires: {
    [metric('roomcast_certificate_expires_seconds')]: '86400x120',
    [metric('roomcast_certificate_age_seconds')]: '7000000x120',
  },
  RoomcastKeySetOld: { [metric('roomcast_jwks_age_seconds')]: '7200x120' },
  RoomcastPublishesFail: {
    [metric('roomcast_redis_commands_total', ',command="publish",result="error"')]: '0+60x120',
  },
  // It is about the fleet, and not about a pod.
  RoomcastPlainMessagesWait: [
    {
      [metric('roomcast_legacy_lease')]: '0x120',
      [metric('roomcast_legacy_messages_total', ',result="ignored"')]: '0+60x120',
    },
    { pod: undefined, namespace: 'edge' },
  ],
  RoomcastEdgesRefused: [
    { [metric('roomcast_relay_refused_total', ',reason="circle"')]: '0+60x120' },
    { reason: 'circle' },
  ],
};

/** What only edges have. */
const EDGE_FAULTS = {
  RoomcastHomeAway: links(0, 2),
  RoomcastLinkDown: links(1, 1),
  RoomcastEdgeLags: { ...links(2, 0), ...lag(true) },
};

/** What a healthy pod exports, as `/metrics` shows it: a pod in use, and one with neither TLS nor clients. */
const HEALTHY = {
  [metric('roomcast_redis_degraded')]: '0x120',
  [metric('roomcast_redis_trouble', ',reason="away"')]: '0x120',
  [metric('roomcast_redis_canary_age_seconds')]: '1x120',
  [metric('roomcast_held_bytes')]: '4096x120',
  [metric('roomcast_limit_used', ',limit="files"')]: '500x120',
  [metric('roomcast_limit', ',limit="files"')]: '1000x120',
  [metric('roomcast_degraded', ',reason="connections"')]: '0x120',
  [metric('roomcast_degraded', ',reason="draining"')]: '0x120',
  [metric('roomcast_degraded', ',reason="starting"')]: '0x120',
  [metric('roomcast_degraded', ',reason="memory"')]: '0x120',
  [metric('roomcast_degraded', ',reason="archive"')]: '0x120',
  [target()]: '1x120',
  [metric('roomcast_archive_unknown')]: '0x120',
  [metric('process_start_time_seconds')]: '1790000000x120',
  [metric('roomcast_dropped_frames_total')]: '0+1x120',
  [metric('roomcast_frames_total')]: '0+60000x120',
  [metric('roomcast_disconnects_total', ',code="1001"')]: '0+60x120',
  [metric('roomcast_stream_holes_total')]: '0x120',
  [metric('roomcast_certificate_broken')]: '0x120',
  [metric('roomcast_configuration_broken')]: '0x120',
  [metric('roomcast_ticket_keys_broken')]: '0x120',
  [metric('roomcast_token_keys_broken')]: '0x120',
  [metric('roomcast_hook_questions_total', ',hook="connect",result="allowed"')]: '0+600x120',
  [metric('roomcast_hook_questions_total', ',hook="connect",result="denied"')]: '0+600x120',
  [metric('roomcast_hook_questions_total', ',hook="connect",result="timeout"')]: '0+6x120',
  [metric('roomcast_hook_questions_total', ',hook="rpc",result="cancelled"')]: '0+600x120',
  [metric('roomcast_certificate_expires_seconds')]: '5000000x120',
  [metric('roomcast_certificate_age_seconds')]: '2000000x120',
  [metric('roomcast_jwks_age_seconds')]: '100x120',
  [metric('roomcast_redis_commands_total', ',command="publish",result="ok"')]: '0+600x120',
  [metric('roomcast_relay_refused_total', ',reason="key"')]: '3x120',
  [metric('roomcast_relay_refused_total', ',reason="room"')]: '0+1x120',
  // Another pod takes plain messages in.
  [metric('roomcast_legacy_lease')]: '0x120',
  'roomcast_legacy_lease{namespace="edge",pod="push-2"}': '1x120',
  [metric('roomcast_legacy_messages_total', ',result="ignored"')]: '0+60x120',
};
const WITHOUT_TLS = {
  ...HEALTHY,
  [metric('roomcast_certificate_expires_seconds')]: '0x120',
  [metric('roomcast_certificate_age_seconds')]: '0x120',
};

test('Prometheus takes the rules, and each alert fires on its fault alone', { skip }, async () => {
  const rules = await groups(everything);
  assert.deepEqual(
    alerts(rules)
      .map(({ alert }) => alert)
      .sort(),
    Object.keys(FAULTS).sort(),
  );
  const cases = Object.entries(FAULTS).map(([name, fault]) => {
    const [series, more] = Array.isArray(fault) ? fault : [fault];
    return { series, firing: [[name, more]] };
  });
  await promtool(rules, [...cases, { series: HEALTHY, firing: [] }]);
});

test('each alert of an edge fires on its fault alone', { skip }, async () => {
  const edge = (await sets()).find(({ name }) => name === 'edge');
  const rules = await groups({ ...edge, set: ['metrics.rules.enabled=true', 'fullnameOverride=push'] });
  const own = alerts(rules).map(({ alert }) => alert);
  const names = Object.keys(EDGE_FAULTS);
  assert.deepEqual(own.filter((name) => names.includes(name)).sort(), names.sort());
  assert.deepEqual(
    own.filter((name) => /Redis|Publishes|PlainMessages|EdgesRefused/.test(name)),
    [],
    'it has neither Redis nor edges',
  );
  const cases = Object.entries(EDGE_FAULTS).map(([name, series]) => ({ series, firing: [[name]] }));
  await promtool(rules, [...cases, { series: { ...links(2, 0), ...lag(false) }, firing: [] }]);
});

test('a certificate that has run out is told; that there is none is not', { skip }, async () => {
  const rules = await groups(everything);
  const over = {
    [metric('roomcast_certificate_expires_seconds')]: '30-60x120',
    [metric('roomcast_certificate_age_seconds')]: '7776000+60x120',
  };
  await promtool(rules, [
    { series: over, firing: [['RoomcastCertificateExpires']] },
    { series: WITHOUT_TLS, firing: [] },
  ]);
  const nginx = (await sets()).find(({ name }) => name === 'nginx');
  const plain = await groups({ ...nginx, set: [...nginx.set, 'metrics.rules.enabled=true', 'fullnameOverride=push'] });
  assert.deepEqual(
    alerts(plain).filter(({ alert }) => alert.includes('Certificate')),
    [],
  );
  await promtool(plain, [{ series: WITHOUT_TLS, firing: [] }]);
});

/** Values with a certificate of cert-manager, on a pod that the made series are of. */
const certified = (duration, renewBefore, ...set) =>
  least(
    'fullnameOverride=push',
    'metrics.rules.enabled=true',
    'tls.existingSecret=',
    'tls.certManager.enabled=true',
    'tls.certManager.issuerRef.name=letsencrypt',
    'tls.certManager.dnsNames={push.example.com}',
    ...(duration ? [`tls.certManager.duration=${duration}`] : []),
    ...(renewBefore ? [`tls.certManager.renewBefore=${renewBefore}`] : []),
    ...set,
  );
/** A certificate that is good for `all` hours, with `left` of them left. */
const certificate = (all, left) => ({
  [metric('roomcast_certificate_expires_seconds')]: `${left * 3600}x120`,
  [metric('roomcast_certificate_age_seconds')]: `${(all - left) * 3600}x120`,
});

test('a certificate is late only after cert-manager should have renewed it', { skip }, async () => {
  const late = [['RoomcastCertificateExpires']];
  for (const [duration, renewBefore, all, healthy, over] of [
    ['144h', '48h', 144, [143, 49, 47], [35, 1]],
    ['2160h', '72h', 2160, [2000, 100, 71, 55], [53, 1]],
    ['2160h', '720h', 2160, [2000, 719, 169], [167]],
    ['30m0s', '10m', 0.5, [0.4, 0.17], [0.1]],
    // The issuer gives six days, whatever was asked for, and cert-manager renews with a third of them left.
    ['2160h', '720h', 144, [143, 49, 47], [35, 1]],
    // cert-manager's own third.
    ['144h', null, 144, [49, 47], [35]],
  ]) {
    const values = certified(duration, renewBefore);
    if (renewBefore === null) values.json = ['tls.certManager.renewBefore=null'];
    await promtool(await groups(values), [
      ...healthy.map((left) => ({ series: certificate(all, left), firing: [] })),
      ...over.map((left) => ({ series: certificate(all, left), firing: late })),
    ]);
  }
  // A Secret that something else fills, for six days and for ninety.
  await promtool(await groups(least('fullnameOverride=push', 'metrics.rules.enabled=true')), [
    ...[143, 47].map((left) => ({ series: certificate(144, left), firing: [] })),
    ...[2000, 169].map((left) => ({ series: certificate(2160, left), firing: [] })),
    { series: certificate(144, 35), firing: late },
    { series: certificate(2160, 167), firing: late },
  ]);
  const [rule] = alerts(await groups(certified('144h', '48h'))).filter(({ alert }) => alert === late[0][0]);
  assert.match(rule.annotations.summary, /ends within 36 hours\.$/);
});

test('a key set is old after three fetches that failed, and not before an hour', { skip }, async () => {
  const old = [['RoomcastKeySetOld']];
  const age = (hours) => ({ [metric('roomcast_jwks_age_seconds')]: `${hours * 3600}x120` });
  for (const [values, healthy, over] of [
    [{}, 0.9, 1.1],
    [{ set: ['configuration.tokens.jwks_refresh=30s'] }, 0.9, 1.1],
    [{ set: ['configuration.tokens.jwks_refresh=2h'] }, 5.9, 6.1],
    [{ set: ['configuration.tokens.jwks_refresh=1d'] }, 71, 73],
    [{ set: ['extraArgs={--tokens-jwks-refresh=2h}'] }, 5.9, 6.1],
    [{ json: ['extraEnv=[{"name":"ROOMCAST_TOKENS_JWKS_REFRESH","value":"2h"}]'] }, 5.9, 6.1],
    // What only the pod knows is a day at most.
    [{ json: ['configuration.tokens={"jwks_refresh":"\\u0024{REFRESH}"}'] }, 71, 73],
  ]) {
    const { set = [], json } = values;
    const rules = await groups({ ...least('fullnameOverride=push', 'metrics.rules.enabled=true', ...set), json });
    await promtool(rules, [
      { series: age(healthy), firing: [] },
      { series: age(over), firing: old },
    ]);
  }
});

test('queues are compared with the budget that the pod has', { skip }, async () => {
  const held = (bytes, budget) => ({
    [metric('roomcast_held_bytes')]: `${bytes}x120`,
    [metric('roomcast_limit', ',limit="memory"')]: `${budget}x120`,
    // Another pod's budget.
    [metric('roomcast_limit', ',limit="memory"').replace('push-1', 'push-2')]: '1000x120',
  });
  await promtool(await groups(everything), [
    { series: held(4_096, 1_073_741_824), firing: [] },
    { series: held(850_000_000, 1_073_741_824), firing: [] },
    { series: held(870_000_000, 1_073_741_824), firing: [['RoomcastQueuesNearBudget']] },
    { series: held(870_000_000, 4_294_967_296), firing: [] },
  ]);
});

test('a drain within its grace period is not told', { skip }, async () => {
  const rules = await groups(least('metrics.rules.enabled=true', 'fullnameOverride=push', 'drain.windowSeconds=900'));
  const draining = { [metric('roomcast_degraded', ',reason="draining"')]: '0x5 1x12 _x60' };
  const stuck = { [metric('roomcast_degraded', ',reason="draining"')]: '0x5 1x60' };
  await promtool(rules, [
    { series: draining, firing: [], at: 15 },
    { series: stuck, firing: [['RoomcastDrainOverrun']], at: 30 },
  ]);
});

test('a pod that is full is told whatever its clients speak', { skip }, async () => {
  const rules = await groups(everything);
  const refused = (stage) => ({ [metric('roomcast_handshakes_total', `,stage="${stage}",result="full"`)]: '0+5x120' });
  const cases = ['poll', 'sse'].map((stage) => ({ series: refused(stage), firing: [['RoomcastRefusesConnections']] }));
  await promtool(rules, cases);
});

test('a full pod is told although balancers keep its clients away', { skip }, async () => {
  const full = (reason) => ({ [metric('roomcast_degraded', `,reason="${reason}"`)]: '1x120' });
  const told = [['RoomcastRefusesConnections']];
  await promtool(await groups(everything), [
    ...['connections', 'memory', 'files'].map((reason) => ({ series: full(reason), firing: told })),
    {
      series: { ...full('connections'), [metric('roomcast_handshakes_total', ',result="full"')]: '0+5x120' },
      firing: told,
    },
    ...['redis', 'upstream'].map((reason) => ({ series: full(reason), firing: [] })),
  ]);
});

test('a pod that starts, ends or has a container beside is not silent', { skip }, async () => {
  const rules = await groups(everything);
  const other = { 'roomcast_build_info{namespace="edge",pod="push-2"}': '1x120' };
  const begins = { ...other, [metric('roomcast_build_info')]: '_x3 1x60', [target()]: '0x3 1x60' };
  const ended = { ...other, [metric('roomcast_build_info')]: '1x20 _x60', [target()]: '1x20 _x60' };
  const sidecar = { ...other, [target(',container="proxy"')]: '0x120', [target()]: '1x120' };
  const hangs = { ...other, ...NO_POD, [target(',container="proxy"')]: '1x120', [target()]: '0x120' };
  await promtool(rules, [
    ...[2, 10].map((at) => ({ series: begins, firing: [], at })),
    { series: ended, firing: [], at: 30 },
    { series: sidecar, firing: [] },
    { series: hangs, firing: [['RoomcastPodSilent']] },
  ]);
});

test('unusable files are told by their kind, several at once as well', { skip }, async () => {
  const kinds = ['certificate', 'configuration', 'ticket_keys', 'token_keys'];
  const broken = (...kinds) => Object.fromEntries(kinds.map((kind) => [metric(`roomcast_${kind}_broken`), '1x120']));
  const told = (...kinds) => kinds.map((files) => ['RoomcastFilesBroken', { files }]);
  await promtool(await groups(everything), [
    ...kinds.map((kind) => ({ series: broken(kind), firing: told(kind) })),
    { series: broken(...kinds), firing: told(...kinds) },
  ]);
});

test('a backend that does not answer is told, whatever it does instead, and one that denies is not', {
  skip,
}, async () => {
  const asked = (result, rate) => ({
    [metric('roomcast_hook_questions_total', `,hook="subscribe",result="${result}"`)]: `0+${rate}x120`,
  });
  const fails = [['RoomcastHookFails', { hook: 'subscribe' }]];
  await promtool(await groups(everything), [
    ...['failed', 'timeout', 'bad_answer'].map((result) => ({ series: asked(result, 1), firing: fails })),
    { series: { ...asked('timeout', 1), ...asked('cached', 100) }, firing: [] },
    {
      series: {
        ...asked('allowed', 1),
        [metric('roomcast_hook_questions_total', ',hook="subscribe",result="timeout"')]: '0x60 1x60',
      },
      firing: [],
    },
    { series: { ...asked('timeout', 10), ...asked('cached', 100) }, firing: fails },
    // A client that asks too much is refused alone; one failure is none.
    ...['allowed', 'denied', 'cached', 'cancelled', 'full'].map((result) => ({
      series: asked(result, 100),
      firing: [],
    })),
  ]);
});

/** Where an archive, a home or edges may be said: a variable, one from a Secret, an argument, what a Secret may bring. */
const brought = (variable, flag, value) => [
  { json: [`extraEnv=${JSON.stringify([{ name: variable, value }])}`] },
  { json: [`extraEnv=${JSON.stringify([{ name: variable, valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }])}`] },
  { set: [`extraArgs={--${flag}=${value}}`] },
  { set: [`extraArgs={--${flag},${value}}`] },
  { json: ['extraEnvFrom=[{"secretRef":{"name":"s"}}]'] },
];
const told = async ({ set = [], json = [] }, ...more) => {
  const rules = await groups({ ...least('metrics.rules.enabled=true', ...more, ...set), json });
  return alerts(rules).map(({ alert }) => alert);
};

test('an archive, a home and edges have their alerts wherever they are said', async () => {
  for (const [values, alert, ...more] of [
    [brought('ROOMCAST_ARCHIVE_URL', 'archive-url', 'postgres://db/a'), 'RoomcastArchiveDown'],
    [brought('ROOMCAST_UPSTREAM', 'upstream', 'wss://home:9443'), 'RoomcastHomeAway', 'redis.urls=null'],
    [brought('ROOMCAST_RELAY_LISTEN', 'relay-listen', ':9443'), 'RoomcastEdgesRefused'],
  ]) {
    for (const one of values) assert.ok((await told(one, ...more)).includes(alert), JSON.stringify(one));
    assert.ok(!(await told({})).includes(alert), alert);
    const off = { json: values[0].json.map((text) => text.replace(/"value":"[^"]*"/, '"value":"none"')) };
    assert.ok(!(await told(off)).includes(alert), `${alert}: none`);
  }
  const edge = { json: brought('ROOMCAST_UPSTREAM', 'upstream', 'wss://home:9443')[0].json };
  assert.ok(!(await told(edge, 'redis.urls=null')).includes('RoomcastRedisDegraded'), 'an edge has no Redis');
});

test('a pod that refuses one address, or that drains, is not full', { skip }, async () => {
  const refused = (result) =>
    Object.fromEntries(
      ['upgrade', 'poll', 'sse', 'send', 'ask'].flatMap((stage) => [
        [metric('roomcast_handshakes_total', `,stage="${stage}",result="${result}"`), '0+50x120'],
        [metric('roomcast_handshakes_total', `,stage="${stage}",result="full"`), '0x120'],
      ]),
    );
  await promtool(
    await groups(everything),
    ['address', 'draining'].map((result) => ({ series: refused(result), firing: [] })),
  );
});

test('each alert has a runbook, and names it', async () => {
  for (const { alert, annotations } of alerts(await groups(everything)))
    assert.match(annotations.runbook_url, /\/docs\/OPERATIONS\.md#alerts$/, alert);
  const operations = readFileSync(join(root, 'docs/OPERATIONS.md'), 'utf8');
  const told = [...operations.matchAll(/^\| `(Roomcast[A-Za-z]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(told.sort(), Object.keys({ ...FAULTS, ...EDGE_FAULTS }).sort());
});
