// What a request may look like: its origin, host, body, credentials and header lines, on every path that takes clients.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

import { curl, Pod } from '../support/pod.js';
import { Raw } from '../support/raw.js';

const socketio = '/socket.io/?EIO=4&transport=polling';
const upgrade = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
/** Every way in: a path and the lines that it needs. */
const ways = [
  ['/ws', upgrade],
  ['/socket.io/?EIO=4&transport=websocket', upgrade],
  [socketio, []],
  ['/poll?room=a', []],
  ['/events?room=a', []],
];

let pod;
before(async () => (pod = await Pod.start({ config: '[socketio]\nenabled = true\n' })));
after(() => pod?.stop());

/** The answer to a request with exactly these lines, over a connection of its own. */
async function ask(port, path, lines, { host = 'Host: localhost', method = 'GET' } = {}) {
  const raw = await Raw.connect(port);
  raw.send([`${method} ${path} HTTP/1.1`, ...(host ? [host] : []), ...lines, '', ''].join('\r\n'));
  const answer = await raw.head();
  raw.socket.destroy();
  return answer;
}

const good = (status) => status === 200 || status === 101;

describe('origins', () => {
  const own = 'Origin: http://localhost:3000';

  test('two lines are refused, whatever they say', async () => {
    for (const [path, lines] of ways) {
      assert.ok(good((await ask(pod.plainPort, path, [...lines, own])).status), path);
      for (const two of [
        [own, 'Origin: http://evil.example'],
        ['Origin: http://evil.example', own],
        [own, own],
      ]) {
        const { status, headers } = await ask(pod.plainPort, path, [...lines, ...two]);
        assert.equal(status, 403, `${path} ${two}`);
        assert.equal(headers['access-control-allow-origin'], undefined);
      }
    }
  });

  test('pages of allowed origins may send cookies with polls and event streams', async () => {
    for (const [path, lines] of ways.filter(([, lines]) => !lines.length)) {
      for (const method of ['GET', 'OPTIONS']) {
        const { headers } = await ask(pod.plainPort, path, [...lines, own], { method });
        assert.equal(headers['access-control-allow-credentials'], 'true', `${method} ${path}`);
        assert.equal(headers['access-control-allow-origin'], 'http://localhost:3000');
      }
      const { headers } = await ask(pod.plainPort, path, [...lines, 'Origin: http://evil.example']);
      assert.equal(headers['access-control-allow-credentials'], undefined, path);
    }
  });

  test('the host itself is no foreign page', async () => {
    const strict = await Pod.start({
      dev: false,
      tls: false,
      config: 'anonymous = true\norigins = ["https://app.example"]\n[socketio]\nenabled = true\n',
    });
    for (const [path, lines] of ways) {
      for (const [origin, allowed] of [
        ['https://app.example', true],
        ['https://push.example', true],
        ['https://push.example:444', false],
        ['http://push.example', false],
        ['https://evil.example', false],
        ['https://push.example.evil.example', false],
      ]) {
        const answer = await ask(strict.plainPort, path, [...lines, `Origin: ${origin}`], {
          host: 'Host: push.example',
        });
        assert.equal(good(answer.status), allowed, `${path} ${origin}: ${answer.status}`);
      }
    }
    await strict.stop();
  });
});

test('a request names one host, the first of a connection and each behind it', async () => {
  for (const host of [null, 'Host: a\r\nHost: b']) {
    for (const [path, lines] of ways) {
      assert.equal((await ask(pod.plainPort, path, lines, { host })).status, 400, `${path} ${host}`);
    }
    assert.equal((await ask(new URL(pod.internal).port, '/health', [], { host })).status, 400);
    const kept = await Raw.connect(pod.plainPort);
    kept.send('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n');
    const { headers } = await kept.head();
    await kept.skip(Number(headers['content-length']));
    kept.send(['GET /poll?room=a HTTP/1.1', ...(host ? [host] : []), '', ''].join('\r\n'));
    assert.equal((await kept.head()).status, 400);
    kept.socket.destroy();
  }
});

test('a request for a WebSocket has no body', async () => {
  for (const [path, lines] of ways.slice(0, 2)) {
    for (const body of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
      assert.equal((await ask(pod.plainPort, path, [...lines, body])).status, 400, `${path} ${body}`);
    }
    assert.equal((await ask(pod.plainPort, path, [...lines, 'Content-Length: 0'])).status, 101);
  }
});

test('Connection and Upgrade may stand on several lines', async () => {
  for (const more of ['Connection: keep-alive', 'Upgrade: h2c']) {
    for (const [path, lines] of ways.slice(0, 2)) {
      assert.equal((await ask(pod.plainPort, path, [more, ...lines])).status, 101, `${path} ${more}`);
      assert.equal((await ask(pod.plainPort, path, [...lines, more])).status, 101, `${path} ${more}`);
    }
  }
});

test('the password of a proxy in front is not taken for a token', async () => {
  for (const [path, lines] of ways) {
    const { status } = await ask(pod.plainPort, path, [...lines, 'Authorization: Basic dXNlcjpwdw==']);
    assert.ok(good(status), `${path}: ${status}`);
    // Clients of Socket.IO speak as to a server before this one, which looks at no header: one without a token is another's affair.
    const bare = (await ask(pod.plainPort, path, [...lines, 'Authorization: Bearer'])).status;
    assert.ok(path.startsWith('/socket.io/') ? good(bare) : bare === 400, `${path}: ${bare}`);
  }
});

test('a poll of as many rooms as a connection may have goes on from its cursor', async () => {
  const names = Array.from({ length: 128 }, (_, n) => `trip:${String(n).padStart(11, '0')}`);
  const query = new URLSearchParams(names.map((name) => ['room', name]));
  const url = `http://127.0.0.1:${pod.plainPort}/poll?`;
  const first = await curl(url + query);
  assert.equal(first.status, 200, first.text);
  const { messages, cursor } = JSON.parse(first.text);
  assert.equal(messages.filter(({ type }) => type === 'subscribed').length, 128);
  query.append('cursor', cursor);
  const second = curl(url + query);
  await pod.publish(names[77], 'news');
  const { status, text } = await second;
  assert.equal(status, 200, text);
  assert.match(text, /"news"/);
});

test('a compressed body is answered with 415, wherever a body is read', async () => {
  const body = gzipSync('{"room":"a","topic":"t"}');
  const post = (url, headers) =>
    fetch(url, { method: 'POST', headers: { 'Content-Encoding': 'gzip', ...headers }, body });
  const plain = `http://127.0.0.1:${pod.plainPort}`;
  for (const answer of [
    await post(`${pod.internal}/api/publish`, { Authorization: `Bearer ${Pod.key}` }),
    await post(`${plain}/send`),
  ]) {
    assert.equal(answer.status, 415);
    assert.equal((await answer.json()).error.code, 'unsupported_encoding');
  }
  // A session of Socket.IO takes it for no packet, and goes on.
  const session = JSON.parse((await (await fetch(plain + socketio)).text()).slice(1)).sid;
  const packets = `${plain}${socketio}&sid=${session}`;
  assert.equal((await post(packets)).status, 415);
  assert.equal((await fetch(packets, { method: 'POST', body: '40' })).status, 200);
});

test('calls of the API that meet SIGTERM are answered, and told to go elsewhere', async () => {
  const ending = await Pod.start({ config: '[drain]\ndelay = "500ms"\nwindow = "500ms"\n' });
  const { port } = new URL(ending.internal);
  const publish = (agent) =>
    new Promise((answered, failed) => {
      const headers = { Authorization: `Bearer ${Pod.key}` };
      const request = http.request({ port, method: 'POST', path: '/api/publish', agent, headers }, (answer) => {
        answer.resume().once('end', () => answered({ status: answer.statusCode, ends: answer.headers.connection }));
      });
      request.once('error', failed).end('{"room":"a","topic":"t","data":1}');
    });
  let calls = 0;
  const backends = Array.from({ length: 8 }, async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (;;) {
      const { status, ends } = await publish(agent);
      assert.equal(status, 200);
      calls += 1;
      if (ends === 'close') return agent.destroy();
    }
  });
  while (calls < 50) await sleep(10);
  const stopped = ending.stop();
  await Promise.all(backends);
  await stopped;
});
