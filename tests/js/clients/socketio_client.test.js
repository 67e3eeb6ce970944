// The unmodified `socket.io-client` against the echo server: each transport, and the upgrade under load.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ours } from '../support/echo.js';
import { io } from '../support/socketio.js';

let server;
before(async () => (server = await ours()));
after(() => server?.stop());

const once = (emitter, event) => new Promise((happened) => emitter.once(event, (...args) => happened(args)));

for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
  describe(transports.join(' then '), () => {
    test('connects, emits, is answered', async () => {
      const socket = io(server.url, { transports, forceNew: true, auth: { token: 'abc' } });
      const [[auth]] = await Promise.all([once(socket, 'auth'), once(socket, 'connect')]);
      assert.deepEqual(auth, { token: 'abc' });
      assert.equal(socket.recovered, false);
      const bytes = Buffer.from([0, 1, 2, 255]);
      socket.emit('message', 1, 'zwei', { drei: [bytes, { vier: bytes }] });
      const back = await once(socket, 'message-back');
      assert.deepEqual(back, [1, 'zwei', { drei: [bytes, { vier: bytes }] }]);
      const ack = await new Promise((acked) => socket.emit('message-with-ack', { a: bytes }, (...args) => acked(args)));
      assert.deepEqual(ack, [{ a: bytes }]);
      socket.close();
    });

    test('`forceBase64`: binary data as text, both ways', async () => {
      const socket = io(server.url, { transports, forceNew: true, forceBase64: true });
      await once(socket, 'connect');
      while (socket.io.engine.transport.name !== transports.at(-1)) await sleep(10);
      const bytes = Buffer.from([0, 1, 2, 255]);
      socket.emit('message', bytes);
      assert.deepEqual(await once(socket, 'message-back'), [bytes]);
      socket.close();
    });

    test('a thousand messages, none lost, none out of order, whatever the transport does meanwhile', async () => {
      const socket = io(server.url, { transports, forceNew: true });
      const seen = [];
      const all = new Promise((done) =>
        socket.on('message-back', (n, bytes) => {
          assert.equal(bytes.length, n % 50);
          if (seen.push(n) === 1_000) done();
        }),
      );
      for (let n = 0; n < 1_000; n++) {
        socket.emit('message', n, Buffer.alloc(n % 50, n));
        if (n % 50 === 0) await new Promise((turn) => setTimeout(turn, 2));
      }
      await all;
      assert.deepEqual(seen, [...Array(1_000).keys()]);
      assert.equal(socket.io.engine.transport.name, transports.at(-1));
      socket.close();
    });

    test('a custom namespace on the same connection, and one that is none', async () => {
      const socket = io(`${server.url}/custom`, { transports, forceNew: true, auth: { a: 1 } });
      assert.deepEqual(await once(socket, 'auth'), [{ a: 1 }]);
      const beside = socket.io.socket('/');
      await once(beside, 'connect');
      assert.notEqual(beside.id, socket.id);
      const none = socket.io.socket('/nope');
      const [error] = await once(none, 'connect_error');
      assert.equal(error.message, 'Invalid namespace');
      socket.close();
      beside.emit('message', 'still here');
      assert.deepEqual(await once(beside, 'message-back'), ['still here']);
      beside.close();
    });
  });
}

test('an upgrade while messages come loses nothing: fifty clients at once', async () => {
  await Promise.all(
    [...Array(50).keys()].map(async (client) => {
      const socket = io(server.url, { forceNew: true });
      const seen = [];
      let upgraded = false;
      socket.io.engine.once('upgrade', () => (upgraded = true));
      const all = new Promise((done) => socket.on('message-back', (n) => seen.push(n) === 200 && done()));
      for (let n = 0; n < 200; n++) {
        socket.emit('message', n);
        await new Promise((turn) => setTimeout(turn, 1));
      }
      await all;
      assert.deepEqual(seen, [...Array(200).keys()], `client ${client}`);
      assert.ok(upgraded, 'it was upgraded');
      socket.close();
    }),
  );
});
