// A rolling restart of three pods, as the chart would run them, under load over one Redis: nothing that was published is lost,
// and nobody is without a connection for long.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { least, render } from '../support/helm.js';
import { Balancer } from '../support/tcp_balancer.js';
import { certificate } from '../support/certificate.js';
import { check } from '../support/checker.js';
import { k6 } from '../support/k6.js';
import { KubeletPod } from '../support/kubelet.js';
import { binary } from '../support/pod.js';
import { until } from '../support/process.js';
import { Redis } from '../support/redis.js';

/** How long balancers take to learn that a pod goes, milliseconds: less than the drain allows, and more than kube-proxy needs. */
const LAG = 1500;
/** The longest time without a connection that is said in docs/OPERATIONS.md, milliseconds. */
const LONGEST_AWAY = 5000;
const P99_AWAY = 2000;

const CONNECTIONS = 200;
const DRAIN = { preStopSeconds: 1, delaySeconds: 2, windowSeconds: 8, marginSeconds: 10 };

const sum = (numbers) => numbers.reduce((sum, n) => sum + n, 0);

test('a rolling restart loses nothing', async (t) => {
  const server = await Redis.start();
  const clients = await new Balancer().listen();
  const internal = await new Balancer().listen();
  const pods = [];
  const close = async () => {
    await Promise.all(pods.map((pod) => pod.stop()));
    await Promise.all([clients.close(), internal.close(), server.stop()]);
  };
  t.after(close);

  const documents = await render(
    least(
      'replicaCount=3',
      `redis.urls={${server.url}}`,
      'apiKeys.values={a-key-for-tests}',
      'minReadySeconds=1',
      'probes.readiness.periodSeconds=1',
      ...Object.entries(DRAIN).map(([key, value]) => `drain.${key}=${value}`),
    ),
  );
  const { replicas, strategy, minReadySeconds } = documents.deployment.spec;
  // One, of three pods.
  assert.deepEqual(strategy.rollingUpdate, { maxSurge: '25%', maxUnavailable: 0 });
  const [crt, key] = await certificate();
  const mounts = { '/etc/roomcast-tls/tls.crt': crt, '/etc/roomcast-tls/tls.key': key };
  const services = [
    { balancer: clients, port: 'wss' },
    {
      balancer: internal,
      port: 'internal',
      notReady: documents.one('Service', '-internal').spec.publishNotReadyAddresses,
    },
  ];
  const start = async (name) => {
    const pod = new KubeletPod(name, documents, { binary, services, mounts });
    pods.push(pod);
    await pod.start();
    await pod.untilReady();
    return pod;
  };

  const old = [];
  for (let n = 0; n < replicas; n++) old.push(await start(`old-${n + 1}`));

  const seconds = 60;
  const load = k6('broadcast', {
    URL: `wss://127.0.0.1:${clients.port}/ws`,
    API: `http://127.0.0.1:${internal.port}`,
    API_KEY: 'a-key-for-tests',
    INSECURE: 1,
    LOG: 1,
    VUS: 10,
    SOCKETS: CONNECTIONS / 10,
    ROOMS: 4,
    RATE: 25,
    // While pods start on a busy machine a publish takes its time: five seconds, before one of the rate is left out.
    PUBLISHERS: 125,
    RAMP: 3,
    SETTLE: 6,
    SECONDS: seconds,
    // While pods come and go on a busy machine; what is measured here is loss.
    DELIVERY_P95: 2000,
    PUBLISH_P95: 2000,
  });
  await sleep(8_000);
  const held = async (pod) => {
    const text = await (await fetch(`http://127.0.0.1:${pod.ports.internal}/metrics`)).text();
    return [...text.matchAll(/^roomcast_connections\{.*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
  };
  const before = await Promise.all(old.map(held));
  assert.equal(sum(before), CONNECTIONS, `${before}`);
  for (const n of before) assert.ok(n > 0, `${before}`);

  // The Deployment's controller: a new pod, ready for minReadySeconds, then an old one goes; the next one does not wait for its end.
  const began = Date.now();
  const fresh = [];
  const ends = [];
  for (const pod of old) {
    fresh.push(await start(`new-${fresh.length + 1}`));
    await sleep(minReadySeconds * 1000);
    ends.push(pod.terminate({ lag: LAG }));
  }
  const how = await Promise.all(ends);
  const rollout = (Date.now() - began) / 1000;
  for (const [n, { code, signal, killed, seconds }] of how.entries()) {
    assert.deepEqual([code, signal, killed], [0, null, undefined], `old-${n + 1}: ${old[n].process.log}`);
    assert.ok(seconds < documents.pod.terminationGracePeriodSeconds, `${seconds} s`);
    // Its clients are served to the end: whatever goes by readiness leaves their flows alone. Newcomers are sent elsewhere.
    const sinceReady = old[n].answers.slice(old[n].answers.indexOf(200));
    assert.ok(!sinceReady.includes(503), `old-${n + 1} was not ready: ${sinceReady}`);
    assert.ok(old[n].accepting.includes(503), `old-${n + 1} took clients to the end: ${old[n].accepting}`);
  }
  // The last ones may still be on their way.
  let after;
  await until(
    async () => sum((after = await Promise.all(fresh.map(held)))) === CONNECTIONS,
    LONGEST_AWAY,
    () => `not all of ${CONNECTIONS} are on new pods: ${after}`,
  );

  const { code, said, result, steps } = await load;
  assert.equal(code, 0, said);
  const { measured } = result;
  const verdict = check(steps);
  const { lost, duplicated, reordered, silent, ...counts } = verdict;
  assert.deepEqual({ lost, duplicated, reordered, silent }, { lost: [], duplicated: [], reordered: [], silent: [] });
  assert.equal(counts.told, 0, 'nobody was even told of a gap');
  assert.equal(counts.clients, CONNECTIONS);
  assert.equal(counts.acknowledged, measured.roomcast_published.count);
  assert.ok(counts.acknowledged > 500, `${counts.acknowledged}`);
  assert.equal(counts.deliveries, counts.acknowledged * (CONNECTIONS / 4));
  // Each client was moved, by an orderly close and after a hint.
  const closed = steps.filter(({ step }) => step === 'closed');
  const moved = new Set(closed.filter(({ code }) => code === 1012).map(({ client }) => client));
  assert.equal(moved.size, CONNECTIONS, 'each was moved with 1012');
  assert.ok(measured.roomcast_returns.count >= CONNECTIONS);
  assert.equal(measured.roomcast_recovered.rate, 1);
  const away = measured.roomcast_away;
  assert.ok(away['p(99)'] < P99_AWAY, `p99 without a connection: ${away['p(99)']} ms`);
  assert.ok(away.max < LONGEST_AWAY, `longest without a connection: ${away.max} ms`);
  t.diagnostic(
    `rollout ${rollout.toFixed(0)} s, ${counts.acknowledged} events, ${counts.deliveries} deliveries, lost 0; ` +
      `${measured.roomcast_returns.count} moves, without a connection: median ${away.med} ms, p99 ${away['p(99)'].toFixed(0)} ms, longest ${away.max} ms; ` +
      `refused by the balancer ${clients.refused + internal.refused}`,
  );
});
