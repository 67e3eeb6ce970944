// promtool over a chart's alerts: which of them are there at a minute of made series.

import assert from 'node:assert/strict';

import { withFolder } from './folder.js';
import { render } from './helm.js';
import { run } from './process.js';

const there = (await run('promtool', ['--version']).catch(() => ({ code: 1 }))).code === 0;
export const skip = there ? false : 'SKIPPED: promtool is not installed';
const labels = 'namespace="edge",pod="push-1"';

/** The rules of values, as a group. */
export const groups = async (values) => (await render(values)).one('PrometheusRule').spec.groups;
export const alerts = (groups) => groups[0].rules.filter(({ alert }) => alert);

/** Runs promtool's tests: over the series `{series: values}`, which alerts are there at a minute. */
export async function promtool(groups, cases) {
  const rules = alerts(groups);
  const tests = cases.map(({ series, firing, at = 90 }) => ({
    interval: '1m',
    // A pod that is there says so, whatever else it says.
    input_series: Object.entries({ ...ANY, ...series }).map(([series, values]) => ({ series, values })),
    alert_rule_test: rules.map(({ alert, labels, annotations }) => ({
      eval_time: `${at}m`,
      alertname: alert,
      exp_alerts: firing
        .filter(([name]) => name === alert)
        .map(([, more = {}]) => {
          const known = { pod: 'push-1', ...more };
          const filled = (text) => text.replaceAll(/\{\{ \$labels\.([a-z]+) \}\}/g, (_, label) => known[label]);
          return {
            exp_labels: { ...labels, ...known },
            exp_annotations: Object.fromEntries(Object.entries(annotations).map(([key, text]) => [key, filled(text)])),
          };
        }),
    })),
  }));
  const files = {
    'rules.yaml': JSON.stringify({ groups }),
    'test.yaml': JSON.stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }),
  };
  await withFolder(files, async (cwd) => {
    for (const args of [
      ['check', 'rules', 'rules.yaml'],
      ['test', 'rules', 'test.yaml'],
    ]) {
      const { code, stdout, stderr } = await run('promtool', args, { cwd });
      assert.equal(code, 0, stdout + stderr);
    }
  });
}

export const metric = (name, more = '') => `${name}{${labels}${more}}`;

const ANY = { [metric('roomcast_build_info')]: '1x120' };
export const NO_POD = { [metric('roomcast_build_info')]: '_x120' };
export const target = (more = '') => `up{${labels},job="edge/push"${more}}`;

/** Links of an edge to its home. */
export const links = (up, down) => ({
  [metric('roomcast_upstream_links', ',state="up"')]: `${up}x120`,
  [metric('roomcast_upstream_links', ',state="down"')]: `${down}x120`,
});

/** Events that came over a link, one in five of them late by 5 to 10 s. */
export const lag = (late) =>
  Object.fromEntries(
    // The bounds that the pod has there.
    Object.entries({ 1: 48, 2.5: 48, 5: 48, 15: 60, '+Inf': 60 }).map(([le, n]) => [
      metric('roomcast_upstream_lag_seconds_bucket', `,le="${le}"`),
      `0+${late ? n : 60}x120`,
    ]),
  );
