// The dashboard: each of its queries finds something in what a pod exports, which is scraped here and given to promtool.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { withFolder } from '../support/folder.js';
import { chart, least, render, root } from '../support/helm.js';
import { Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { Postgres } from '../support/postgres.js';
import { run, until } from '../support/process.js';
import { Redis } from '../support/redis.js';

const promtool = (await run('promtool', ['--version']).catch(() => ({ code: 1 }))).code === 0;
const redis = (await run('redis-server', ['--version']).catch(() => ({ code: 1 }))).code === 0;
const postgres =
  existsSync('/usr/lib/postgresql') || (await run('initdb', ['--version']).catch(() => ({ code: 1 }))).code === 0;
const skip = promtool && redis && postgres ? false : 'SKIPPED: promtool, redis-server or PostgreSQL is not installed';

const dashboard = JSON.parse(readFileSync(join(chart, 'dashboards/roomcast.json'), 'utf8'));
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr]));

test('the dashboard is what its script makes', async () => {
  const { code, stderr } = await run('node', [join(root, 'helm/dashboard.mjs'), '--check']);
  assert.equal(code, 0, stderr);
});

test('the ConfigMap holds the dashboard, and its labels are those that Grafana looks for', async () => {
  const documents = await render(least('metrics.dashboard.enabled=true'));
  const { data, metadata } = documents.one('ConfigMap', '-dashboard');
  assert.deepEqual(JSON.parse(data['roomcast.json']), dashboard);
  assert.equal(metadata.labels.grafana_dashboard, '1');
  assert.equal(
    (await render(least())).of('ConfigMap').filter(({ metadata }) => metadata.name.endsWith('-dashboard')).length,
    0,
  );
});

test('panels lie beside one another, and each says what it shows', () => {
  const places = new Set();
  for (const { type, title, gridPos, targets } of dashboard.panels) {
    const { x, y, w, h } = gridPos;
    assert.ok(x + w <= 24, title);
    for (let column = x; column < x + w; column++)
      for (let line = y; line < y + h; line++) {
        assert.ok(!places.has(`${column} ${line}`), `${title} lies on another panel`);
        places.add(`${column} ${line}`);
      }
    if (type !== 'row') assert.ok(targets.length > 0 && targets.every(({ legendFormat }) => legendFormat), title);
  }
  assert.ok(queries.length >= 30, `${queries.length} queries`);
});

test('each query of the dashboard finds something in a live scrape', { skip }, async (t) => {
  const server = await Redis.start();
  t.after(() => server.stop());
  const database = await Postgres.start();
  t.after(() => database.stop());
  const [relay] = await freePorts(1);
  const running = await Pod.start({
    config: `[hooks]
connect = "http://127.0.0.1:9/"
[relay]
listen = "127.0.0.1:${relay}"
tls = false
keys = "edges-key"
[archive]
url = "${await database.database('archive')}?sslmode=disable"
migrate = true
`,
    args: ['--redis', server.url],
  });
  t.after(() => running.end());
  const edge = await Pod.start({ config: `[upstream]\nurls = "ws://127.0.0.1:${relay}"\nkey = "edges-key"` });
  t.after(() => edge.end());
  await running.publish('demo:1', 1);
  const scrape = async () => (await running.curl('/metrics')).text;
  // The subscriber shows its state when it has looked at it.
  const text = await until(
    async () => {
      const text = await scrape();
      return (
        text.includes('roomcast_redis_command_seconds_bucket') && text.includes('roomcast_redis_subscriptions') && text
      );
    },
    15_000,
    'the pod shows no commands to Redis',
  );
  const samplesOf = (pod, text) =>
    text.split('\n').flatMap((line) => {
      const [, name, labels = '', value] = line.match(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/) ?? [];
      if (name === undefined) return [];
      const all = ['namespace="edge"', `pod="${pod}"`, ...(labels ? [labels] : [])];
      return [{ series: `${name}{${all.join(',')}}`, values: `${value}x60` }];
    });
  const samples = [...samplesOf('push-1', text), ...samplesOf('push-2', (await edge.curl('/metrics')).text)];
  assert.ok(samples.length > 200, `${samples.length} samples`);
  const filled = (expr) =>
    expr.replaceAll('$namespace', 'edge').replaceAll('$pod', '.*').replaceAll('$__rate_interval', '5m');
  const known = new Set(samples.map(({ series }) => series.split('{')[0]));
  for (const [title, expr] of queries)
    for (const [name] of expr.matchAll(/\b(?:roomcast|process)_[a-z_]+/g))
      assert.ok(known.has(name), `${title}: ${name}`);
  const test = {
    interval: '1m',
    input_series: samples,
    promql_expr_test: queries.map(([, expr]) => ({
      expr: `count(${filled(expr)}) > bool 0`,
      eval_time: '30m',
      exp_samples: [{ labels: '{}', value: 1 }],
    })),
  };
  const files = { 'test.yaml': JSON.stringify({ rule_files: [], evaluation_interval: '1m', tests: [test] }) };
  await withFolder(files, async (cwd) => {
    const { code, stdout, stderr } = await run('promtool', ['test', 'rules', 'test.yaml'], { cwd });
    assert.equal(code, 0, stdout + stderr);
  });
});
