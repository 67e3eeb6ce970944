// A client that stops reading while others receive: it misses nothing silently, and it costs the others nothing.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { frame, Raw, TEXT } from '../support/raw.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

const SIZE = 16 * 1024;
/** So many at once: what a reader has not read yet stays far below its queue. */
const PACE = 16;

/** Publishes an event of noise, which no compression makes smaller than half. */
async function publish(room) {
  const body = JSON.stringify({ room, topic: 't', data: randomBytes(SIZE / 2).toString('hex') });
  const headers = { Authorization: `Bearer ${Pod.key}`, 'Content-Type': 'application/json' };
  const answer = await fetch(`${pod.internal}/api/publish`, { method: 'POST', headers, body });
  assert.equal(answer.status, 200, await answer.text());
}

/**
 * A member of the room that does not read, beside five that do and get everything in order. A queue (1 MiB) and the
 * kernel's buffers hold about a hundred events for one connection.
 */
async function stall(room, count) {
  const stalled = await Raw.upgrade(pod.port, { secure: true });
  assert.equal((await stalled.message()).type, 'welcome');
  stalled.send(frame(TEXT, JSON.stringify({ type: 'subscribe', room })));
  const { offset } = await stalled.message();
  stalled.socket.pause();
  const readers = await Promise.all(Array.from({ length: 5 }, () => Client.open(pod.tlsUrl)));
  for (const reader of readers) await reader.subscribe(room);
  for (let at = offset; at < offset + count; at += PACE) {
    await Promise.all(Array.from({ length: PACE }, () => publish(room)));
    await Promise.all(readers.map((reader) => reader.events(room, PACE, at)));
  }
  await Promise.all(readers.map((reader) => reader.close()));
  stalled.socket.resume();
  return { stalled, offset };
}

test('slow = "gap": what it missed is named, and it goes on', async () => {
  const room = 'plain:stalled';
  const count = 800;
  const { stalled, offset } = await stall(room, count);
  let at = offset;
  let missed = 0;
  while (at < count) {
    const message = await stalled.message();
    assert.ok(['events', 'gap'].includes(message.type), message.type);
    assert.equal(message.after, at, `a hole before this ${message.type}`);
    if (message.type === 'gap') missed += message.offset - message.after;
    else assert.equal(message.events.length, message.offset - message.after);
    at = message.offset;
  }
  assert.ok(missed > 0 && missed < count, `missed ${missed}`);
  await pod.publish(room, 'and on');
  const next = await stalled.message();
  assert.deepEqual([next.after, next.events[0].data], [at, 'and on']);
  stalled.socket.destroy();
});

test('slow = "close": it is closed with 4008, and nothing before that is missing', async () => {
  // Few more than fit: whoever does not even read the close frame within 5 s is gone without.
  const count = 240;
  const { stalled, offset } = await stall('slow-close:a', count);
  let at = offset;
  for (;;) {
    const { opcode, data } = await stalled.frame();
    if (opcode === 8) {
      assert.equal(data.readUInt16BE(0), 4008);
      break;
    }
    if (opcode !== TEXT) continue;
    const message = JSON.parse(data);
    assert.deepEqual([message.type, message.after], ['events', at]);
    at = message.offset;
  }
  assert.ok(at < count);
  stalled.socket.destroy();
});
