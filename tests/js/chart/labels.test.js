// Labels: each key once in an object, whichever values name it, and those that select pods are the chart's.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { least, render, sets, template } from '../support/helm.js';

const everything = (await sets()).find(({ name }) => name === 'everything-values');
const SELECTED = ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component'];

/** The values that are labels. */
const LABELS = [
  'commonLabels',
  'podLabels',
  'service.labels',
  'metrics.labels',
  'metrics.rules.labels',
  'metrics.dashboard.labels',
];

test('a label that several values name is there once, and the nearest one wins', async () => {
  const json = LABELS.map((name) => `${name}=${JSON.stringify({ team: name, 'helm.sh/chart': name })}`);
  json.push('metrics.rules.alertLabels={"severity":"page","region":"own","team":"alerts"}', 'region="eu"');
  // That a key is there twice is an error of the parser.
  const documents = await render({ ...everything, json });
  const service = documents
    .of('Service')
    .find(({ spec }) => spec.type === 'LoadBalancer' && spec.ports[0].name === 'wss');
  const where = {
    commonLabels: documents.deployment.metadata.labels,
    podLabels: documents.deployment.spec.template.metadata.labels,
    'service.labels': service.metadata.labels,
    'metrics.labels': documents.one('PodMonitor').metadata.labels,
    'metrics.rules.labels': documents.one('PrometheusRule').metadata.labels,
    'metrics.dashboard.labels': documents.one('ConfigMap', '-dashboard').metadata.labels,
  };
  for (const name of LABELS) assert.deepEqual([where[name].team, where[name]['helm.sh/chart']], [name, name], name);
  const [{ labels }] = documents.one('PrometheusRule').spec.groups[0].rules;
  assert.deepEqual(labels, { severity: 'page', region: 'own', team: 'alerts' });
});

test('pods have the labels that they are selected by', async () => {
  const { deployment, all } = await render(everything);
  const labels = deployment.spec.template.metadata.labels;
  for (const { kind, spec } of all) {
    const selector = kind === 'Service' ? spec.selector : kind === 'PodDisruptionBudget' && spec.selector.matchLabels;
    for (const [key, value] of Object.entries(selector || {})) assert.equal(labels[key], value, `${kind} ${key}`);
  }
});

for (const name of LABELS) {
  test(`${name} cannot have a label that pods are selected by`, async () => {
    for (const key of SELECTED) {
      const { code, stderr } = await template({ ...least(), json: [`${name}=${JSON.stringify({ [key]: 'a' })}`] });
      assert.notEqual(code, 0, key);
      assert.ok(stderr.includes(`${name} has ${key}, by which pods are selected`), stderr);
    }
  });
}
