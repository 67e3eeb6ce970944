// Sockets that wait, drip or do not read: each ends by its clock, and none keeps honest clients, health or metrics out.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { curl, Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { frame, PING, Raw, TEXT } from '../support/raw.js';

/** The sum of a metric's series that begin with `prefix`. */
async function metric(pod, prefix) {
  const { text } = await pod.curl('/metrics');
  const lines = text.split('\n').filter((line) => line.startsWith(prefix));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** A socket that reads nothing of what it asks for. */
async function deaf(port, bytes) {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  await new Promise((done) => socket.once('connect', done));
  socket.pause();
  socket.write(bytes);
  return socket;
}

describe('a pod with few files', () => {
  let pod;
  const silent = [];
  // Of 600 files 344 are for sockets, and 172 of those may wait for their clients. No clock of a handshake runs out here.
  before(async () => {
    pod = await Pod.start({
      config: `workers = 2\n${rooms}\n[timeouts]\ntls = "5m"\nhead = "5m"\n`,
      files: 600,
    });
  });
  after(async () => {
    for (const socket of silent) socket.destroy();
    await pod?.stop();
  });

  test('silent sockets keep neither clients nor probes out', async () => {
    for (let n = 0; n < 700; n++) {
      const socket = net.connect(pod.plainPort, '127.0.0.1').on('error', () => {});
      silent.push(socket);
    }
    await until(
      async () => (await metric(pod, 'roomcast_limit_refused_total{limit="waiting_sockets"}')) > 0,
      15_000,
      () => `no socket was refused: ${pod.log}`,
    );
    for (const path of ['/health', '/ready', '/metrics']) assert.equal((await pod.curl(path)).status, 200, path);
    // The youngest are spared for a moment: until then there may be no place.
    const client = await until(() => Client.open(pod.plainUrl).catch(() => null), 15_000, 'no client came in');
    assert.equal((await client.request({ type: 'ping' })).type, 'pong');
    await client.close();
    const lines = pod.log.split('\n').filter((line) => line.includes('too many sockets wait'));
    assert.equal(lines.length, 1, 'one line says that the limit bites');
    assert.ok((await metric(pod, 'process_open_fds')) < 600 - 200, 'the pod keeps files for itself');
  });
});

describe('clocks', () => {
  let pod;
  before(async () => {
    pod = await Pod.start({
      config: `${rooms}\n[socketio]\nenabled = true\n[timeouts]\nhead = "1s"\nbody = "1s"\nwrite = "1s"\nidle = "5m"\n`,
    });
  });
  after(() => pod?.stop());
  const slow = (clock) => metric(pod, `roomcast_slow_sockets_total{clock="${clock}"}`);
  const ended = (clock, count) =>
    until(
      async () => (await slow(clock)) >= count,
      20_000,
      () => `not ended by the clock ${clock}`,
    );

  test('answers that are not read end their socket, and are not made ahead', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 10 }, () => deaf(pod.plainPort, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2_000))),
    );
    await ended('write', sockets.length);
    for (const socket of sockets) socket.destroy();
  });

  test('a long-poll and an event stream that are not read end as well', async () => {
    const room = `log:${randomUUID()}`;
    let position;
    for (let n = 0; n < 20; n++) position = await pod.publish(room, 'x'.repeat(30_000));
    const before = await slow('write');
    const sockets = [];
    for (const path of ['poll', 'events']) {
      const target = `/${path}?room=${encodeURIComponent(room)}&since=${position.epoch}:0`;
      sockets.push(await deaf(pod.plainPort, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`));
    }
    await ended('write', before + sockets.length);
    for (const socket of sockets) socket.destroy();
  });

  test('a body that does not end ends its socket', async () => {
    const { text } = await curl(`http://127.0.0.1:${pod.plainPort}/socket.io/?EIO=4&transport=polling`);
    const { sid } = JSON.parse(text.slice(1));
    const raw = await Raw.connect(pod.plainPort);
    const head = `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n`;
    raw.send(head + '4'.repeat(99));
    await raw.gone;
    assert.equal(await slow('body'), 1);
  });

  test('a head that drips on a kept connection ends it, and a kept connection that is silent stays', async () => {
    const [kept, raw] = [await Raw.connect(pod.plainPort), await Raw.connect(pod.plainPort)];
    const ask = async (socket) => {
      socket.send('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n');
      const { status, headers } = await socket.head();
      assert.equal(status, 404);
      await socket.skip(Number(headers['content-length']));
    };
    await ask(kept);
    await ask(raw);
    const drip = setInterval(() => raw.send('G'), 100);
    await raw.gone;
    clearInterval(drip);
    assert.ok((await slow('head')) >= 1);
    await ask(kept);
    kept.socket.destroy();
  });
});

test('an idle connection ends by its clock', async () => {
  const pod = await Pod.start({ config: '[timeouts]\nidle = "1s"\n' });
  const raw = await Raw.connect(pod.plainPort);
  raw.send('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n');
  await raw.gone;
  assert.equal(await metric(pod, 'roomcast_slow_sockets_total{clock="idle"}'), 1);
  await pod.stop();
});

describe('what HTTP holds', () => {
  let pod;
  before(async () => {
    pod = await Pod.start({
      config: 'memory_budget = "1MiB"\n[socketio]\nenabled = true\n[timeouts]\nbody = "5m"\nconnect = "3s"\n',
    });
  });
  after(() => pod?.stop());
  const path = '/socket.io/?EIO=4&transport=polling';
  const stats = async () => JSON.parse((await pod.curl('/api/stats', '-H', `Authorization: Bearer ${Pod.key}`)).text);
  const open = async () => {
    const { text } = await curl(`http://127.0.0.1:${pod.plainPort}${path}`);
    return JSON.parse(text.slice(1)).sid;
  };

  test('bodies that do not end stay within the budget, and the largest are shed', async () => {
    const sid = await open();
    const head = `POST ${path}&sid=${sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n`;
    const bodies = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const raw = await Raw.connect(pod.plainPort);
        raw.send(head + '4'.repeat(99_999));
        return raw;
      }),
    );
    const refused = 'roomcast_limit_refused_total{limit="memory"}';
    await until(async () => (await metric(pod, refused)) > 0, 15_000, 'no body was refused');
    // All that the pod holds beyond the budget is what was on its way when the last byte of it was taken.
    assert.ok((await stats()).queues.held_bytes < 1.5 * 1024 * 1024, JSON.stringify(await stats()));
    for (const raw of bodies) raw.socket.destroy();
    const client = await until(() => Client.open(pod.plainUrl).catch(() => null), 15_000, 'no client came in');
    await client.close();
  });

  test('one connection cannot fill the pod with sessions that it does not use', async () => {
    const used = await open();
    const post = () => curl(`http://127.0.0.1:${pod.plainPort}${path}&sid=${used}`, '-d', '40');
    assert.equal((await post()).text, 'ok');
    const raw = await Raw.connect(pod.plainPort);
    raw.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(200));
    const count = {};
    for (let n = 0; n < 200; n++) {
      const { status, headers } = await raw.head();
      await raw.skip(Number(headers['content-length']));
      count[status] = (count[status] ?? 0) + 1;
    }
    assert.ok(count[503] > 0 && count[200] >= 64, JSON.stringify(count));
    await until(async () => (await stats()).connections === 1, 15_000, 'the unused sessions did not end');
    assert.equal((await post()).text, 'ok', 'the used one is still there');
    raw.socket.destroy();
  });
});

describe('what WebSockets hold', () => {
  let pod;
  before(async () => {
    pod = await Pod.start({
      config: `memory_budget = "1MiB"\n${rooms}\n[timeouts]\nbody = "1s"\n`,
    });
  });
  after(() => pod?.stop());

  test('a message that began ends in its time, whatever pings come between', async () => {
    const raw = await Raw.upgrade(pod.plainPort);
    raw.send(frame(TEXT, '{"type":', { fin: false }));
    const pings = setInterval(() => raw.send(frame(PING, 'x')), 100);
    const { code } = await raw.close().finally(() => clearInterval(pings));
    assert.equal(code, 4009);
  });

  test('replies that are not read stay within the budget', async () => {
    const room = 'plain:history';
    let position;
    for (let n = 0; n < 20; n++) position = await pod.publish(room, 'x'.repeat(30_000));
    const ask = JSON.stringify({ type: 'history', id: 1, room, since: { epoch: position.epoch, offset: 0 } });
    const before = await metric(pod, 'roomcast_messages_in_total');
    const deaf = await Promise.all(Array.from({ length: 30 }, () => Raw.upgrade(pod.plainPort)));
    for (const raw of deaf) {
      raw.socket.pause();
      raw.send(frame(TEXT, ask));
    }
    const refused = 'roomcast_limit_refused_total{limit="memory"}';
    await until(async () => (await metric(pod, refused)) > 0, 15_000, 'nothing was refused');
    const held = async () => {
      const { text } = await pod.curl('/api/stats', '-H', `Authorization: Bearer ${Pod.key}`);
      return JSON.parse(text).queues.held_bytes;
    };
    await until(
      async () => (await metric(pod, 'roomcast_messages_in_total')) >= before + deaf.length,
      15_000,
      'the questions were not read',
    );
    assert.ok((await held()) < 2 * 1024 * 1024, `${await held()} bytes`);
    for (const raw of deaf) raw.socket.destroy();
    const client = await until(() => Client.open(pod.plainUrl).catch(() => null), 15_000, 'no client came in');
    await client.close();
  });
});
