// What stands around Socket.IO: its client for browsers, and the API that knows a client by its `socket.id`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { io } from 'socket.io-client';

import { Pod } from '../support/pod.js';

const file = createRequire(import.meta.url).resolve('socket.io-client/dist/socket.io.js');

let pod, bare;
before(async () => {
  pod = await Pod.start({ config: `[socketio]\nenabled = true\nclient_file = "${file}"\n` });
  bare = await Pod.start({ config: '[socketio]\nenabled = true\n' });
});
after(() => Promise.all([pod?.stop(), bare?.stop()]));

test('the client for browsers, where a file is configured', async () => {
  const get = (of, name, headers = {}) => fetch(`http://127.0.0.1:${of.plainPort}/socket.io/${name}`, { headers });
  for (const name of ['socket.io.js', 'socket.io.min.js']) {
    const answer = await get(pod, name);
    assert.deepEqual(
      [answer.status, answer.headers.get('content-type')],
      [200, 'application/javascript; charset=utf-8'],
    );
    assert.equal(await answer.text(), await readFile(file, 'utf8'));
    const again = await get(pod, name, { 'if-none-match': answer.headers.get('etag') });
    assert.equal(again.status, 304);
    assert.equal((await get(bare, name)).status, 404);
  }
  assert.equal((await get(pod, 'package.json')).status, 404);
});

test('a connection is found, and closed, by its `socket.id`', async () => {
  const socket = io(`http://127.0.0.1:${pod.plainPort}`, { forceNew: true, transports: ['websocket'] });
  await new Promise((connected) => socket.once('connect', connected));
  const key = ['-H', `Authorization: Bearer ${Pod.key}`];
  const found = await pod.curl(`/api/connections/${socket.id}`, ...key);
  assert.equal(found.status, 200, found.text);
  const { id, socket_ids } = JSON.parse(found.text);
  assert.deepEqual(socket_ids, [socket.id]);
  assert.deepEqual(JSON.parse((await pod.curl(`/api/connections/${id}`, ...key)).text).socket_ids, [socket.id]);
  for (const unknown of ['x'.repeat(20), 'x'.repeat(19)])
    assert.equal((await pod.curl(`/api/connections/${unknown}`, ...key)).status, 404);
  const gone = new Promise((closed) => socket.once('disconnect', closed));
  const closed = await pod.curl(`/api/connections/${socket.id}/disconnect`, ...key, '-d', '{}');
  assert.deepEqual([closed.status, JSON.parse(closed.text).connections], [200, 1]);
  assert.equal(await gone, 'io server disconnect');
});
