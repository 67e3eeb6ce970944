// Whether pods have Redis, wherever that is said: what the chart makes of it in variables, alerts and notes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { least, render, template } from '../support/helm.js';

const NOTES =
  'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  text: {{ include (print $.Template.BasePath "/NOTES.txt") $ | toJson }}';
const notes = `extraObjects=${JSON.stringify([NOTES])}`;
const without = (...set) => least('redis.urls=null', 'metrics.rules.enabled=true', ...set);
const env = (...all) => `extraEnv=${JSON.stringify(all)}`;
const url = { name: 'ROOMCAST_REDIS', value: 'redis://redis:6379' };
const secret = { name: 'ROOMCAST_REDIS', valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } } };

const WITH = {
  'redis.urls': [least('metrics.rules.enabled=true')],
  'a preset': [without('preset=live-polls'), env({ name: 'REDIS_URL', value: 'redis://redis:6379' })],
  'a preset that needs no variable': [without('preset=trips')],
  'a variable': [without(), env(url)],
  'a variable from a Secret': [without(), env(secret)],
  'an argument': [without('extraArgs={--redis=redis://redis:6379}')],
  'two arguments': [without('extraArgs={--redis,redis://redis:6379}')],
  'what a Secret may bring': [without(), 'extraEnvFrom=[{"secretRef":{"name":"redis"}}]'],
};
for (const [name, [values, ...json]] of Object.entries(WITH)) {
  test(`Redis is seen by ${name}`, async () => {
    const documents = await render({ ...values, json: [...json, notes] });
    assert.ok(documents.container.env.some(({ name }) => name === 'ROOMCAST_ADVERTISE'));
    const alerts = documents.one('PrometheusRule').spec.groups[0].rules.map(({ alert }) => alert);
    assert.ok(alerts.includes('RoomcastRedisDegraded'), `${alerts}`);
    assert.doesNotMatch(documents.one('ConfigMap', 'notes').data.text, /one pod without Redis/);
  });
}

test('an edge by a variable has no Redis, may be several pods, and is not told that it is one', async () => {
  const values = {
    ...without('replicaCount=3'),
    json: [env({ name: 'ROOMCAST_UPSTREAM', value: 'wss://home:9443' }), notes],
  };
  const documents = await render(values);
  assert.doesNotMatch(documents.one('ConfigMap', 'notes').data.text, /without Redis/);
  assert.ok(!documents.container.env.some(({ name }) => name === 'ROOMCAST_ADVERTISE'));
});

const WITHOUT = {
  'nothing of it is set': [without('replicaCount=1')],
  'a variable is another one': [without('replicaCount=1'), env({ name: 'TZ', value: 'UTC' })],
  'a variable takes that of the preset away': [
    without('replicaCount=1', 'preset=trips'),
    env({ name: 'ROOMCAST_REDIS', value: 'none' }),
  ],
};
for (const [name, [values, ...json]] of Object.entries(WITHOUT)) {
  test(`there is no Redis where ${name}, and only one pod may be`, async () => {
    const documents = await render({ ...values, json: [...json, notes] });
    assert.ok(!documents.container.env?.some(({ name }) => name === 'ROOMCAST_ADVERTISE'));
    const alerts = documents.one('PrometheusRule').spec.groups[0].rules.map(({ alert }) => alert);
    assert.ok(!alerts.includes('RoomcastRedisDegraded'), `${alerts}`);
    assert.match(documents.one('ConfigMap', 'notes').data.text, /one pod without Redis/);
    const two = { ...values, set: [...values.set, 'replicaCount=2'], json };
    const { code, stderr } = await template(two);
    assert.notEqual(code, 0);
    assert.match(stderr, /2 pods without Redis would not share their rooms/);
  });
}
