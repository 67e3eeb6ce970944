// Calls of the application's own server, by the TypeScript client against a real pod.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { Pod } from '../support/pod.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { rpc } = await load('rpc');

let pod, backend;
const asked = [];

/** What the application's server answers; without an answer it is silent. */
const methods = {
  greet: ({ data, idempotency_key }) => ({ allow: true, data: { said: data, key: idempotency_key } }),
  nothing: () => ({ allow: true }),
  bytes: () => ({ allow: true, data64: 'AQI=' }),
  no: () => ({ allow: false, code: 'bad_request', message: 'not like this' }),
  wrong: () => ({ allow: 'perhaps' }),
  silent: () => undefined,
};

before(async () => {
  backend = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    asked.push(body);
    const answer = methods[body.method](body);
    if (answer) response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
  });
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${backend.address().port}`;
  pod = await Pod.start({ config: `[hooks]\nrpc = "${url}"\nrpc_access = "anyone"\nrpc_timeout = "500ms"\n` });
});
after(async () => {
  await pod?.stop();
  backend?.closeAllConnections();
  backend?.close();
});

for (const transport of ['websocket', 'poll']) {
  test(`over ${transport}, a call resolves with what the server answers, and rejects with why it does not`, async (t) => {
    const url = `http://127.0.0.1:${pod.plainPort}`;
    const client = new Client({ url, transports: [transport], WebSocket, storage: null });
    t.after(() => client.close());
    const before = asked.length;
    // Without a key it is not kept for a connection that comes later.
    await assert.rejects(rpc(client, 'greet'), { code: 'lost' });
    await client.subscribe('news').joined();
    assert.deepEqual(await rpc(client, 'greet', { to: 'bob' }), { said: { to: 'bob' } });
    assert.deepEqual(await rpc(client, 'greet', null, { idempotencyKey: 'k-1' }), { said: null, key: 'k-1' });
    assert.equal(await rpc(client, 'nothing'), undefined);
    assert.deepEqual([...(await rpc(client, 'bytes'))], [1, 2]);
    for (const [method, code] of Object.entries({ no: 'bad_request', wrong: 'failed', silent: 'deadline' })) {
      await assert.rejects(rpc(client, method), (error) => error.code === code, method);
    }
    assert.equal(asked.length - before, 7, 'each is made once');
  });
}
