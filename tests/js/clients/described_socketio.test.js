// A described dialect inside of Socket.IO, as the page about dialects prints it, with the real `socket.io-client`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { Pod } from '../support/pod.js';
import { io } from '../support/socketio.js';

let pod, scores;
before(async () => {
  const page = await readFile(new URL('../../../docs/DIALECTS.md', import.meta.url), 'utf8');
  const example = (name) => {
    const found = page
      .split('```toml\n')
      .map((rest) => rest.split('```')[0])
      .find((text) => text.includes(`name = "${name}"`));
    assert.ok(found, `the example ${name} is no longer where it was`);
    return found;
  };
  [pod, scores] = await Promise.all(['polls', 'scores'].map((name) => Pod.start({ config: example(name) })));
});
after(() => Promise.all([pod?.stop(), scores?.stop()]));

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
    assert.deepEqual(await socket.timeout(5_000).emitWithAck('join', {}), { ok: false, code: 'bad_request' });
    assert.deepEqual(await socket.timeout(5_000).emitWithAck('join', { session: transport }), { ok: true });
    const event = next('event');
    await pod.publish(`session:${transport}`, { votes: [1, 2] }, { topic: 'vote:accepted' });
    assert.deepEqual(await event, { type: 'vote:accepted', payload: { votes: [1, 2] }, session: transport });
    socket.disconnect();
  });
}

for (const transport of ['websocket', 'polling']) {
  test(`a client is greeted in its room, and goes on behind its last event, over ${transport}`, async () => {
    const url = `http://127.0.0.1:${scores.plainPort}`;
    const told = (query, count) =>
      new Promise((done, failed) => {
        const socket = io(url, { transports: [transport], forceNew: true, query });
        const all = [];
        const timer = setTimeout(() => failed(new Error(`only ${JSON.stringify(all)}`)), 5_000);
        socket.onAny((name, data) => {
          all.push([name, data]);
          if (all.length < count) return;
          clearTimeout(timer);
          socket.close();
          done(all);
        });
      });
    const game = `g-${transport}`;
    assert.deepEqual(await told({ game }, 1), [['hello', { game, caughtUp: false }]]);
    const positions = [];
    for (let score = 0; score < 4; score++) {
      positions.push(await scores.publish(`game:${game}`, score, score === 1 ? { id: 'half-time' } : {}));
    }
    const id = (n) => (n === 1 ? 'half-time' : `${positions[n].epoch}:${positions[n].offset}`);
    const score = (n) => ['score', { id: id(n), score: n }];
    for (const last of [0, 1, 2]) {
      const missed = [1, 2, 3].filter((n) => n > last).map(score);
      assert.deepEqual(await told({ game, last: id(last) }, 1 + missed.length), [
        ['hello', { game, caughtUp: true }],
        ...missed,
      ]);
    }
    assert.deepEqual(await told({ game, last: 'nobody knows' }, 1), [['hello', { game, caughtUp: false }]]);
    assert.deepEqual(await told({}, 1), [['no', { why: 'game is missing in the query of the address' }]]);
  });
}

test('a session that was recovered stays in the rooms in which its dialect begins', async () => {
  const config = `
[socketio]
enabled = true

[[dialect]]
name = "news"
envelope = "socketio"
rooms = ["news:all"]
idempotent = true

[[dialect.command]]
when = { "/0" = "leave" }
does = "unsubscribe"
room = "news:{/1}"

[[dialect.event]]
write = '["news", "{data}"]'
`;
  const news = await Pod.start({ config });
  try {
    const socket = io(`http://127.0.0.1:${news.plainPort}`, { transports: ['websocket'], reconnectionDelay: 50 });
    const next = (name) =>
      new Promise((done, failed) => {
        socket.once(name, done);
        setTimeout(failed, 5_000, new Error(`no ${name} within 5 s`)).unref();
      });
    await next('connect');
    for (const recovered of [false, true]) {
      assert.equal(socket.recovered, recovered);
      await socket.timeout(5_000).emitWithAck('leave', 'all');
      const heard = next('news');
      await news.publish('news:all', { recovered });
      assert.deepEqual(await heard, { recovered });
      const back = next('connect');
      socket.io.engine.close();
      await back;
    }
  } finally {
    await news.stop();
  }
});
