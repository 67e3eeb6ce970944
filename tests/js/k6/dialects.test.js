// What the k6 clients say in a dialect, without k6.

import assert from 'node:assert/strict';
import { test } from 'node:test';

globalThis.__ENV = { API_KEY: 'a-key-for-tests', DIALECT: 'socketio' };
const { socketio } = await import('../../../bench/k6/lib/dialects/socketio.js');

/** A client to which these messages come; what it sends, and its joins: whether each continues where it was. */
function run(client, ...messages) {
  const [sent, joins] = [[], []];
  Object.assign(client, {
    joined: false,
    send: (text) => sent.push(text),
    isIn: (continues) => joins.push(continues),
    error: (message) => assert.fail(message),
  });
  socketio.open(client);
  for (const message of messages) socketio.message(client, message);
  return { sent, joins };
}

const OPEN = '0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}';
const ESTABLISHED = '42["connection:established",{"replayed":0}]';

test('over Socket.IO a client joins, whether k6 shows it the open packet or drops it', () => {
  for (const first of [[OPEN], []]) {
    const client = { room: 'session:a', token: 'a-token', state: {} };
    assert.deepEqual(run(client, ...first, '40{"sid":"s","pid":"p"}', ESTABLISHED), {
      sent: ['40{"token":"a-token"}'],
      joins: [null],
    });
    // It comes back with what it has, and the session is the same.
    client.state.offset = 'o';
    assert.deepEqual(run(client, ...first, '40{"sid":"s","pid":"p"}'), {
      sent: ['40{"token":"a-token","pid":"p","offset":"o"}'],
      joins: [true],
    });
  }
});
