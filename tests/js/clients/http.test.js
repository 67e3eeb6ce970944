// The internal listener through curl: health, metrics, publish with good and bad input. And the development certificate.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { curl, Pod } from '../support/pod.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

test('health and ready answer 200', async () => {
  assert.equal((await pod.curl('/health')).status, 200);
  for (const path of ['/accepting', '/ready']) {
    assert.deepEqual(await pod.curl(path), { status: 200, text: '{"status":"ready"}' });
  }
});

test('metrics are in the text format and count', async () => {
  const client = await Client.open(pod.tlsUrl);
  await client.subscribe('plain:metrics');
  await pod.publish('plain:metrics', 1);
  await client.next('events');
  // Gauges are set every few seconds.
  let text, samples;
  const value = (name) =>
    Number(
      samples
        .find((line) => line.startsWith(name))
        ?.split(' ')
        .at(-1),
    );
  for (let n = 0; n < 50; n++) {
    const answer = await pod.curl('/metrics');
    assert.equal(answer.status, 200);
    text = answer.text;
    samples = text.split('\n').filter((line) => line && !line.startsWith('#'));
    if (value('roomcast_connections{transport="websocket",dialect="native"}') === 1) break;
    await sleep(200);
  }
  for (const line of samples) assert.match(line, /^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eENaInf]+$/);
  assert.equal(value('roomcast_connections{transport="websocket",dialect="native"}'), 1, text);
  assert.equal(value('roomcast_deliveries_total'), 1, text);
  assert.ok(!text.includes('plain:metrics'), 'a room name is a label');
  await client.close();
});

test('the internal listener serves neither rooms nor the public one the API', async () => {
  assert.equal((await curl(`http://127.0.0.1:${pod.plainPort}/api/publish`, '-X', 'POST', '-d', '{}')).status, 404);
  assert.equal((await curl(`http://127.0.0.1:${pod.plainPort}/metrics`)).status, 404);
  assert.equal((await pod.curl('/ws')).status, 404);
});

test('publish answers 200 and a position', async () => {
  const { status, text } = await pod.post('{"room":"plain:http","topic":"t","data":{"a":1}}');
  assert.equal(status, 200, text);
  const { epoch, offset } = JSON.parse(text);
  assert.ok(typeof epoch === 'string' && epoch.length > 0, text);
  assert.equal(offset, 1);
  assert.equal(JSON.parse((await pod.post('{"room":"plain:http","topic":"t","data":null}')).text).offset, 2);
});

const good = '{"room":"plain:bad","topic":"t","data":1}';
const table = [
  ['no key', 401, good, { key: null }],
  ['a wrong key', 401, good, { key: 'another' }],
  ['an empty key', 401, good, { key: '' }],
  ['a key that begins well', 401, good, { key: Pod.key.slice(0, -1) }],
  ['no JSON', 400, 'room=a'],
  ['half of it', 400, good.slice(0, -3)],
  ['an empty body', 400, ''],
  ['a list', 400, '[]'],
  ['no room', 400, '{"topic":"t","data":1}'],
  ['a room that is a number', 400, '{"room":7,"topic":"t","data":1}'],
  ['a room with braces', 400, '{"room":"a{b}","topic":"t","data":1}'],
  ['a room with a newline', 400, '{"room":"a\\nb","topic":"t","data":1}'],
  ['a room of 256 bytes', 400, `{"room":"${'x'.repeat(256)}","topic":"t","data":1}`],
  ['an empty room', 400, '{"room":"","topic":"t","data":1}'],
  ['no topic', 400, '{"room":"plain:bad","data":1}'],
  ['no data', 400, '{"room":"plain:bad","topic":"t"}'],
  ['data twice', 400, '{"room":"plain:bad","topic":"t","data":1,"data64":"AA=="}'],
  ['data64 that is not base64', 400, '{"room":"plain:bad","topic":"t","data64":"%"}'],
  ['a body that is not UTF-8', 400, Buffer.from([...Buffer.from(good.slice(0, -2)), 0x22, 0xff, 0x22, 0x7d])],
  ['a body of 8 MiB', 413, `{"room":"plain:bad","topic":"t","data":"${'x'.repeat(8 * 1024 * 1024)}"}`],
];
for (const [name, expected, body, options] of table) {
  test(`publish with ${name} answers ${expected}`, async () => {
    const { status, text } = await pod.post(body, options);
    assert.equal(status, expected, text.slice(0, 500));
    const error = JSON.parse(text);
    assert.match((error.error ?? error).code, /^[a-z_]+$/, text);
    assert.match((error.error ?? error).message, /./, text);
    assert.ok(!text.includes(Pod.key));
  });
}

test('nothing of that was published', async () => {
  assert.equal((await pod.publish('plain:bad', 1)).offset, 1);
});

test('other methods and paths are refused', async () => {
  const key = ['-H', `Authorization: Bearer ${Pod.key}`];
  assert.equal((await pod.curl('/api/publish', ...key)).status, 405);
  assert.equal((await pod.curl('/api/nothing', ...key)).status, 404);
  assert.equal((await pod.curl('/api/nothing')).status, 401, 'without a key nobody learns what there is');
  assert.equal((await pod.curl('/')).status, 404);
});

test('the development certificate fits what browsers pin', async () => {
  const socket = tls.connect({ port: pod.port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
  await new Promise((done, failed) => socket.once('secureConnect', done).once('error', failed));
  const certificate = new X509Certificate(socket.getPeerCertificate().raw);
  assert.match(socket.getProtocol(), /^TLSv1\.[23]$/);
  socket.destroy();
  assert.equal(certificate.publicKey.asymmetricKeyDetails.namedCurve, 'prime256v1');
  assert.ok(certificate.checkHost('localhost') && certificate.checkIP('127.0.0.1'), certificate.subjectAltName);
  const days = (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / 86_400_000;
  assert.ok(days <= 14 && days >= 13, `valid for ${days} days`);
});

test('TLS 1.1 is refused, 1.2 and 1.3 are spoken', async () => {
  const speak = (version) =>
    new Promise((done) => {
      const socket = tls.connect({
        port: pod.port,
        host: '127.0.0.1',
        servername: 'localhost',
        rejectUnauthorized: false,
        minVersion: version,
        maxVersion: version,
        // OpenSSL itself refuses 1.1 at its usual security level: the pod must be the one that does.
        ...(version === 'TLSv1.1' && { ciphers: 'DEFAULT@SECLEVEL=0' }),
      });
      socket.once('secureConnect', () => (done(socket.getProtocol()), socket.destroy()));
      socket.once('error', ({ code }) => done(code));
    });
  assert.equal(await speak('TLSv1.2'), 'TLSv1.2');
  assert.equal(await speak('TLSv1.3'), 'TLSv1.3');
  assert.match(await speak('TLSv1.1'), /^ERR_SSL_\w+_ALERT_/, 'refused by an alert of the pod');
});
