// Clients that offer a WebSocket subprotocol to what speaks a dialect: `ws`, which as browsers do fails a connection whose server
// answers none of them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { Pod } from '../support/pod.js';

let pod;
before(async () => {
  const dialect = (name, more) => `
[[dialect]]
name = "${name}"
paths = ["/${name}"]
${more}
[[dialect.event]]
write = '{"said": "{data}"}'
`;
  pod = await Pod.start({
    config: `${dialect('any', '')}${dialect('some', 'subprotocols = ["chat.v2", "chat.v1"]')}
[socketio]
enabled = true
`,
  });
});
after(() => pod?.stop());

/** The subprotocol that is agreed to, or why the client does not connect. */
const agreed = (path, offers) =>
  new Promise((told) => {
    const ws = new WebSocket(`ws://127.0.0.1:${pod.plainPort}${path}`, offers);
    ws.once('open', () => (told(ws.protocol), ws.close()));
    ws.once('error', (error) => told(error.message));
  });

test('the first that is offered, where a dialect names none', async () => {
  assert.equal(await agreed('/any', []), '');
  assert.equal(await agreed('/any', ['json-rpc']), 'json-rpc');
  assert.equal(await agreed('/any', ['b', 'a']), 'b');
  assert.equal(await agreed('/any', ['b', 'roomcast.v1']), 'roomcast.v1');
  // A token among them is never answered. (This one is good for nothing, and the pod judges none.)
  assert.equal(await agreed('/any', ['roomcast.token.x']), 'Server sent no subprotocol');
  assert.equal(await agreed('/any', ['roomcast.token.x', 'b']), 'b');
});

test('one of those that a dialect names', async () => {
  assert.equal(await agreed('/some', []), '');
  assert.equal(await agreed('/some', ['chat.v3', 'chat.v1', 'chat.v2']), 'chat.v1');
  assert.equal(await agreed('/some', ['json-rpc']), 'Server sent no subprotocol');
});

test('the first that is offered, in Socket.IO', async () => {
  assert.equal(await agreed('/socket.io/?EIO=4&transport=websocket', []), '');
  assert.equal(await agreed('/socket.io/?EIO=4&transport=websocket', ['b', 'a']), 'b');
});
