// How many pods there are and may go: the autoscaler's pace, KEDA after a HorizontalPodAutoscaler, and disruption budgets that let a pod go.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { least, render, template } from '../support/helm.js';

const scaled = (...set) => least('autoscaling.enabled=true', ...set);

test('the autoscaler waits for a drain as long as Kubernetes lets it', async () => {
  for (const [window, wanted] of [
    [10, 60],
    [900, 925],
    [1800, 1800],
    [3600, 1800],
  ]) {
    const documents = await render(scaled(`drain.windowSeconds=${window}`));
    const { policies } = documents.one('HorizontalPodAutoscaler').spec.behavior.scaleDown;
    assert.deepEqual(policies, [{ type: 'Pods', value: 1, periodSeconds: wanted }], `${window}`);
    // The grace period itself is never shortened.
    assert.ok(documents.pod.terminationGracePeriodSeconds >= window);
  }
});

test('KEDA takes over the autoscaler that the release had', async () => {
  const before = (await render(scaled())).one('HorizontalPodAutoscaler');
  const keda = scaled('autoscaling.keda.enabled=true', 'autoscaling.keda.prometheus=http://prometheus:9090');
  const documents = await render({ ...keda, json: ['commonAnnotations={"example.com/owner":"edge"}'] });
  assert.deepEqual(documents.of('HorizontalPodAutoscaler'), []);
  const { metadata, spec } = documents.one('ScaledObject');
  assert.equal(metadata.annotations['scaledobject.keda.sh/transfer-hpa-ownership'], 'true');
  assert.equal(metadata.annotations['example.com/owner'], 'edge');
  assert.equal(spec.advanced.horizontalPodAutoscalerConfig.name, before.metadata.name);
  assert.equal(spec.scaleTargetRef.name, before.spec.scaleTargetRef.name);
});

/** How many of `pods` a budget lets go while all are ready: Kubernetes rounds both kinds up. */
function allowed({ minAvailable, maxUnavailable }, pods) {
  const count = (value) => (typeof value === 'number' ? value : Math.ceil((Number.parseInt(value, 10) * pods) / 100));
  return minAvailable === undefined ? Math.min(pods, count(maxUnavailable)) : pods - count(minAvailable);
}

test('where there may be several pods there is a budget, and it lets one go; others are refused', async () => {
  const taken = [];
  for (const [set, fewest, most] of [
    [['replicaCount=0'], 0, 0],
    [['replicaCount=1'], 1, 1],
    [['replicaCount=2'], 2, 2],
    [['replicaCount=5'], 5, 5],
    [['autoscaling.enabled=true', 'autoscaling.minReplicas=1', 'autoscaling.maxReplicas=10'], 1, 10],
    [['autoscaling.enabled=true', 'autoscaling.minReplicas=3', 'autoscaling.maxReplicas=10'], 3, 10],
  ]) {
    for (const budget of [
      { maxUnavailable: 1 },
      { maxUnavailable: '25%' },
      { maxUnavailable: 0 },
      { maxUnavailable: '0%' },
      { minAvailable: 0 },
      { minAvailable: 1 },
      { minAvailable: 2 },
      { minAvailable: '50%' },
      { minAvailable: '67%' },
      { minAvailable: '100%' },
    ]) {
      const values = { ...least(...set), json: [`podDisruptionBudget=${JSON.stringify(budget)}`] };
      const where = `${JSON.stringify(budget)}, ${set}`;
      const { code, stderr } = await template(values);
      const lets = most <= 1 || allowed(budget, fewest) > 0;
      assert.equal(code === 0, lets, `${where}: ${stderr}`);
      if (!lets) {
        assert.match(
          stderr,
          /podDisruptionBudget\.(minAvailable|maxUnavailable) is .*no node with one could be drained/,
        );
        continue;
      }
      const budgets = (await render(values)).of('PodDisruptionBudget');
      assert.equal(budgets.length, most > 1 ? 1 : 0, where);
      for (const { spec } of budgets) {
        assert.ok(allowed(spec, fewest) > 0, where);
        taken.push(where);
      }
    }
  }
  assert.ok(taken.length >= 15, `${taken.length}`);
});
