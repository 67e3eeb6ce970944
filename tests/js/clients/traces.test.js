// Traces of publishes over curl and grpcurl, read by the OpenTelemetry project's own types (`otlp_collector.py`); and what the pod's log
// says of a collector that is away and comes back.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { Process, until } from '../support/process.js';

const script = fileURLToPath(new URL('../support/otlp_collector.py', import.meta.url));
const grpcurl = process.env.GRPCURL ?? `${process.env.HOME}/.cache/roomcast/bin/grpcurl`;
const [trace, caller] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
const parent = `traceparent: 00-${trace}-${caller}-01`;

const running = [];
after(async () => {
  for (const one of running) await one.stop();
});

async function startPod(collector, sample, more = '') {
  const config = `${more}
    [traces]
    otlp_endpoint = "http://127.0.0.1:${collector}"
    sample = "${sample}"
    every = "100ms"
    attributes = ["cloud.region=eu-west-1"]`;
  const pod = await Pod.start({ config });
  running.unshift(pod);
  return pod;
}

function startCollector(port) {
  const collector = new Process(process.env.PYTHON ?? 'python3', [script, String(port)]);
  running.push(collector);
  const spans = () =>
    collector.log
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  const wait = (count) =>
    until(
      async () => spans().length >= count,
      15_000,
      () => `${count} spans were awaited: ${collector.log}`,
    );
  return { spans, wait };
}

function publish(pod, ...headers) {
  const all = ['Content-Type: application/json', `Authorization: Bearer ${Pod.key}`, ...headers];
  const body = JSON.stringify({ room: 'demo:1', topic: 't', data: 'cucumber' });
  return pod.curl('/api/publish', ...all.flatMap((header) => ['-H', header]), '--data-binary', body);
}

test('curl with a traceparent: publish and fan-out are spans of its trace', async () => {
  const [port] = await freePorts(1);
  const collector = startCollector(port);
  const pod = await startPod(port, '0%');
  const client = await Client.open(pod.plainUrl);
  await client.subscribe('demo:1');
  assert.equal((await publish(pod)).status, 200);
  assert.equal((await publish(pod, parent, 'tracestate: rojo=1', 'tracestate: congo=2')).status, 200);
  await collector.wait(2);
  const spans = collector.spans();
  assert.equal(spans.length, 2, JSON.stringify(spans));
  const [publishSpan, fanOut] = ['publish demo:*', 'fan_out demo:*'].map((name) =>
    spans.find((span) => span.name === name),
  );
  assert.deepEqual([publishSpan.trace, publishSpan.parent, publishSpan.state], [trace, caller, 'rojo=1,congo=2']);
  assert.deepEqual([publishSpan.kind, publishSpan.status], ['SPAN_KIND_SERVER', 'STATUS_CODE_UNSET']);
  assert.equal(publishSpan.flags, 0x301);
  assert.deepEqual(publishSpan.attributes, {
    'messaging.system': 'roomcast',
    'messaging.operation.name': 'publish',
    'messaging.destination.template': 'demo:*',
    'messaging.operation.type': 'send',
    'messaging.message.body.size': 10,
    'roomcast.source': 'api',
  });
  assert.equal(publishSpan.events.accepted['roomcast.offset'], 2);
  assert.deepEqual([fanOut.trace, fanOut.parent, fanOut.kind], [trace, publishSpan.span, 'SPAN_KIND_INTERNAL']);
  assert.equal(fanOut.attributes['roomcast.receivers'], 1);
  assert.equal(fanOut.attributes['roomcast.epoch'], publishSpan.events.accepted['roomcast.epoch']);
  assert.equal(fanOut.attributes['roomcast.offset'], 2);
  assert.ok(publishSpan.nanoseconds >= 0 && fanOut.nanoseconds >= 0);
  assert.equal(publishSpan.resource['service.name'], 'roomcast');
  assert.equal(publishSpan.resource['cloud.region'], 'eu-west-1');
  assert.match(publishSpan.resource['service.instance.id'], /^[0-9a-f]{16}$/);
  assert.equal(publishSpan.scope, 'roomcast');
  assert.ok(!JSON.stringify(spans).includes('cucumber'));
  await client.close();
});

const without = existsSync(grpcurl) ? false : 'SKIPPED: there is no grpcurl; tests/run installs it where Go is';
test('grpcurl with a traceparent', { skip: without }, async () => {
  const [port, grpc] = await freePorts(2);
  const collector = startCollector(port);
  const pod = await startPod(port, '0%', `[grpc]\nlisten = ["127.0.0.1:${grpc}"]`);
  const headers = [`authorization: Bearer ${Pod.key}`, parent].flatMap((header) => ['-H', header]);
  const call = JSON.stringify({ room: 'demo:1', event: { topic: 't', json: '1' } });
  const args = ['-plaintext', ...headers, '-d', call, `127.0.0.1:${grpc}`, 'roomcast.v1.Roomcast/Publish'];
  await promisify(execFile)(grpcurl, args);
  await collector.wait(1);
  const [span] = collector.spans();
  assert.deepEqual([span.trace, span.parent, span.attributes['roomcast.source']], [trace, caller, 'grpc']);
  assert.ok(pod.log);
});

test('a collector that is away is told once, and once that it is back', { timeout: 60_000 }, async () => {
  const [port] = await freePorts(1);
  const pod = await startPod(port, '100%');
  const lines = (text) => pod.log.split(text).length - 1;
  for (let count = 0; count < 10; count++) assert.equal((await publish(pod)).status, 200);
  await until(
    async () => lines('spans do not arrive') > 0,
    15_000,
    () => pod.log,
  );
  // Another try or two.
  await sleep(2_000);
  assert.equal((await publish(pod)).status, 200);
  const collector = startCollector(port);
  await until(
    async () => lines('spans arrive at the trace collector again') > 0,
    30_000,
    () => pod.log,
  );
  await collector.wait(1);
  assert.equal(lines('spans do not arrive'), 1, pod.log);
  assert.equal(lines('spans arrive at the trace collector again'), 1, pod.log);
  assert.ok(!pod.log.includes('cucumber'));
});
