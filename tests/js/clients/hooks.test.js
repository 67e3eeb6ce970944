// A backend that decides, as a backend developer would write it (node's own HTTP server), with the real `socket.io-client` and `ws`.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';

import { Pod } from '../support/pod.js';
import { io } from '../support/socketio.js';

let pod, backend;
const asked = [];

/** The whole backend. */
const hooks = {
  connect: ({ auth, headers }) =>
    auth?.name === 'ann' || headers?.cookie === 'session=ann'
      ? { allow: true, user: 'ann', claims: { role: 'host' } }
      : { allow: false, code: 'unauthorized', message: 'who are you?' },
  subscribe: ({ room, claims }) =>
    claims?.role === 'host' && room !== 'asked:secret' ? { allow: true } : { allow: false, message: `not ${room}` },
  publish: ({ data }) => ({ allow: true, data: { ...data, seen: true } }),
  rpc: ({ method, data, user }) =>
    method === 'greet'
      ? { allow: true, data: { hello: user, said: data } }
      : { allow: false, message: 'no such method' },
};

before(async () => {
  backend = createServer(async (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer 0123456789abcdef');
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    asked.push(body);
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(hooks[body.hook](body)));
  });
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${backend.address().port}`;
  pod = await Pod.start({
    config: `
anonymous = false
[hooks]
connect = "${url}/connect"
subscribe = "${url}/subscribe"
publish = "${url}/publish"
rpc = "${url}/rpc"
secret = "0123456789abcdef"
headers = ["cookie"]
[socketio]
enabled = true
[[policy]]
match = "asked:*"
subscribe_hook = true
publish = "user"
publish_hook = true
`,
  });
});
after(async () => {
  await pod?.stop();
  backend?.close();
});

for (const transport of ['websocket', 'polling']) {
  test(`socket.io-client over ${transport}`, async () => {
    const open = (auth) => io(`http://127.0.0.1:${pod.plainPort}`, { auth, transports: [transport], forceNew: true });
    const next = (socket, name) =>
      new Promise((done, failed) => {
        socket.once(name, done);
        setTimeout(failed, 5_000, new Error(`no ${name} within 5 s`)).unref();
      });
    const stranger = open({ name: 'bob', token: 'never told' });
    const error = await next(stranger, 'connect_error');
    assert.deepEqual([error.message, error.data], ['who are you?', { code: 'unauthorized' }]);
    stranger.disconnect();
    const ann = open({ name: 'ann' });
    await next(ann, 'connect');
    const joined = await ann.timeout(5_000).emitWithAck('subscribe', { room: `asked:${transport}` });
    assert.equal(joined.type, 'subscribed', JSON.stringify(joined));
    const denied = await ann.timeout(5_000).emitWithAck('subscribe', { room: 'asked:secret' });
    assert.deepEqual([denied.code, denied.message], ['forbidden', 'not asked:secret']);
    const events = next(ann, 'events');
    const published = await ann
      .timeout(5_000)
      .emitWithAck('publish', { room: `asked:${transport}`, topic: 't', data: { n: 1 } });
    assert.equal(published.type, 'published', JSON.stringify(published));
    assert.deepEqual((await events).events[0].data, { n: 1, seen: true });
    const answer = await ann.timeout(5_000).emitWithAck('rpc', { method: 'greet', data: [1] });
    assert.deepEqual(answer, { type: 'result', data: { hello: 'ann', said: [1] } });
    const refused = await ann.timeout(5_000).emitWithAck('rpc', { method: 'other' });
    assert.deepEqual([refused.type, refused.code, refused.message], ['error', 'forbidden', 'no such method']);
    ann.disconnect();
    assert.ok(!JSON.stringify(asked).includes('never told'));
  });
}

test('ws, by its cookie', async () => {
  const status = (headers) =>
    new Promise((done) => {
      const ws = new WebSocket(pod.plainUrl, 'roomcast.v1', { headers });
      ws.once('open', () => (ws.close(), done(101)));
      ws.once('unexpected-response', (_, answer) => done(answer.statusCode));
      ws.on('error', () => {});
    });
  assert.equal(await status({}), 401);
  assert.equal(await status({ cookie: 'session=ann' }), 101);
});
