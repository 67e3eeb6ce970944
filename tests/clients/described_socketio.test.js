// A described dialect inside of Socket.IO, as the page about dialects prints it, with the real `socket.io-client`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';

import { Pod } from './support/pod.js';

let pod;
before(async () => {
  const page = await readFile(new URL('../../docs/DIALECTS.md', import.meta.url), 'utf8');
  const config = page.split('```toml\n').map((rest) => rest.split('```')[0]).find((text) => text.includes('[socketio]'));
  assert.ok(config, 'the example is no longer where it was');
  pod = await Pod.start({ config });
});
after(() => pod?.stop());

for (const transport of ['websocket', 'polling']) {
  test(`events are emitted as described, over ${transport}`, async () => {
    const socket = io(`http://127.0.0.1:${pod.plainPort}`, { transports: [transport], forceNew: true });
    const next = (name) =>
      new Promise((done, failed) => {
        socket.once(name, done);
        setTimeout(failed, 5_000, new Error(`no ${name} within 5 s`)).unref();
      });
    await next('connect');
    const refused = next('oops');
    socket.emit('join', {});
    assert.deepEqual(await refused, { code: 'bad_request' });
    socket.emit('join', { session: transport });
    await sleep(300);
    const event = next('event');
    await pod.publish(`session:${transport}`, { votes: [1, 2] }, { topic: 'vote:accepted' });
    assert.deepEqual(await event, { type: 'vote:accepted', payload: { votes: [1, 2] }, session: transport });
    socket.disconnect();
  });
}
