// A client that stops reading while others receive: it misses nothing silently, and it costs the others nothing.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Client } from './support/client.js';
import { rooms } from './support/config.js';
import { Pod } from './support/pod.js';
import { frame, Raw, TEXT } from './support/raw.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod.stop());

const EVENTS = 800;
const SIZE = 16 * 1024;

/** 13 MB of noise into a room: more than a queue and the kernel's buffers hold for one connection. */
async function flood(room) {
  let left = EVENTS;
  const publisher = async () => {
    while (left-- > 0) {
      const body = JSON.stringify({ room, topic: 't', data: randomBytes(SIZE / 2).toString('hex') });
      const headers = { Authorization: `Bearer ${Pod.key}`, 'Content-Type': 'application/json' };
      const answer = await fetch(`${pod.internal}/api/publish`, { method: 'POST', headers, body });
      assert.equal(answer.status, 200, await answer.text());
    }
  };
  await Promise.all(Array.from({ length: 4 }, publisher));
}

/** A member of the room that does not read, beside five that do; all of these get everything in order. */
async function stall(room) {
  const stalled = await Raw.upgrade(pod.port, { secure: true });
  assert.equal((await stalled.message()).type, 'welcome');
  stalled.send(frame(TEXT, JSON.stringify({ type: 'subscribe', room })));
  const { offset } = await stalled.message();
  stalled.socket.pause();
  const readers = await Promise.all(Array.from({ length: 5 }, () => Client.open(pod.tlsUrl)));
  const starts = await Promise.all(readers.map((reader) => reader.subscribe(room)));
  const all = Promise.all(readers.map((reader, n) => reader.events(room, EVENTS, starts[n].offset)));
  await Promise.all([flood(room), all]);
  await Promise.all(readers.map((reader) => reader.close()));
  stalled.socket.resume();
  return { stalled, offset };
}

test('slow = "gap": what it missed is named, and it goes on', async () => {
  const room = 'plain:stalled';
  const { stalled, offset } = await stall(room);
  let at = offset;
  let missed = 0;
  while (at < EVENTS) {
    const message = await stalled.message();
    assert.ok(['events', 'gap'].includes(message.type), message.type);
    assert.equal(message.after, at, `a hole before this ${message.type}`);
    if (message.type === 'gap') missed += message.offset - message.after;
    else assert.equal(message.events.length, message.offset - message.after);
    at = message.offset;
  }
  assert.ok(missed > 0 && missed < EVENTS, `missed ${missed}`);
  await pod.publish(room, 'and on');
  const next = await stalled.message();
  assert.deepEqual([next.after, next.events[0].data], [at, 'and on']);
  stalled.socket.destroy();
});

test('slow = "close": it is closed with 4008, and nothing before that is missing', async () => {
  const { stalled, offset } = await stall('slow-close:a');
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
  assert.ok(at < EVENTS);
  stalled.socket.destroy();
});
