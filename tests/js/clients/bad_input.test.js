// What a hostile or broken client sends, and the documented answer. Afterwards the pod still serves.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { BINARY, CLOSE, frame, PING, PONG, Raw, TEXT } from '../support/raw.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

afterEach(async () => {
  const client = await Client.open(pod.tlsUrl);
  await client.close();
});

describe('before the handshake', () => {
  const garbage = Buffer.from([...Array(512).keys()].map((n) => (n * 7) & 255));

  test('garbage is answered with 400 and an end', async () => {
    for (const bytes of [garbage, Buffer.from('GET / HTTP/9.9\r\n\r\n'), Buffer.from('GET /ws\r\n\r\n')]) {
      const raw = await Raw.connect(pod.plainPort);
      raw.send(bytes);
      assert.equal((await raw.head()).status, 400);
      assert.ok((await raw.gone) < 5_000);
    }
  });

  test('garbage instead of TLS ends the connection', async () => {
    const raw = await Raw.connect(pod.port);
    raw.send(garbage);
    assert.ok((await raw.gone) < 5_000);
  });

  test('plain HTTP on the TLS port ends the connection', async () => {
    const raw = await Raw.connect(pod.port);
    raw.send('GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.ok((await raw.gone) < 5_000);
  });

  test('a head above 16 KiB is refused', async () => {
    const raw = await Raw.connect(pod.plainPort);
    raw.send('GET /ws HTTP/1.1\r\nHost: localhost\r\n');
    for (let n = 0; n < 20; n++) raw.send(`X-Filler-${n}: ${'x'.repeat(1_000)}\r\n`);
    assert.equal((await raw.head()).status, 431);
    assert.ok((await raw.gone) < 5_000);
  });

  test('dripping handshakes are gone in 12 s, and others connect meanwhile', async () => {
    const head = 'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n';
    const drips = await Promise.all(
      Array.from({ length: 100 }, (_, n) => Raw.connect(n % 2 ? pod.port : pod.plainPort)),
    );
    let at = 0;
    const dripping = setInterval(() => {
      for (const drip of drips) drip.send(head[at % head.length]);
      at += 1;
    }, 1_000);
    await sleep(1_500);
    const began = Date.now();
    const client = await Client.open(pod.tlsUrl);
    assert.ok(Date.now() - began < 1_000, `${Date.now() - began} ms to connect`);
    const ages = await Promise.all(drips.map(({ gone }) => gone));
    clearInterval(dripping);
    assert.ok(Math.max(...ages) < 12_000, `the oldest was ${Math.max(...ages)} ms old`);
    assert.equal((await client.request({ type: 'ping' })).type, 'pong');
    await client.close();
  });

  test('upgrades that RFC 6455 forbids are refused', async () => {
    for (const [headers, status] of [
      [{ 'Sec-WebSocket-Version': '12' }, 426],
      [{ 'Sec-WebSocket-Key': '' }, 400],
      [{ 'Sec-WebSocket-Key': 'short' }, 400],
    ]) {
      const raw = await Raw.upgrade(pod.plainPort, { headers });
      assert.equal(raw.answer.status, status, JSON.stringify(headers));
      raw.socket.destroy();
    }
  });
});

describe('origins', () => {
  const status = async (origin, port = pod.plainPort, secure = false) => {
    const raw = await Raw.upgrade(port, { secure, headers: { Origin: origin } });
    raw.socket.destroy();
    return raw.answer.status;
  };

  test('foreign ones are refused with 403 before the upgrade', async () => {
    for (const origin of [
      'https://evil.example',
      'null',
      'file://',
      'https://localhost.evil.example',
      'https://evil-localhost',
      'http://127.0.0.1.evil.example',
      'http://localhost@evil.example',
      'http://l\u043ecalhost'.normalize(), // a Cyrillic o
      'not an origin',
    ]) {
      assert.equal(await status(Buffer.from(origin).toString('latin1')), 403, origin);
    }
    assert.equal(await status('https://evil.example', pod.port, true), 403);
  });

  test('loopback ones may join in development mode, a request without one is no browser', async () => {
    for (const origin of ['http://localhost:5173', 'https://localhost', 'http://127.0.0.1:8080', 'http://[::1]:3000']) {
      assert.equal(await status(origin), 101, origin);
    }
  });
});

describe('frames', () => {
  const cases = [
    ['text that is not UTF-8', [frame(TEXT, [0xc3, 0x28])], 1007],
    ['text cut inside a character', [frame(TEXT, [0x22, 0xe2, 0x82])], 1007],
    ['an overlong encoding', [frame(TEXT, [0xc0, 0xaf])], 1007],
    ['a surrogate', [frame(TEXT, [0xed, 0xa0, 0x80])], 1007],
    ['wrong UTF-8 over fragments', [frame(TEXT, [0xe2], { fin: false }), frame(0, [0x28, 0xa1])], 1007],
    ['an unmasked frame', [frame(TEXT, '{"type":"ping"}', { masked: false })], 1002],
    ['a reserved opcode', [frame(3, 'x')], 1002],
    ['a reserved control opcode', [frame(11, '')], 1002],
    ['a fragmented ping', [frame(PING, 'x', { fin: false })], 1002],
    ['a ping of 126 bytes', [frame(PING, 'x'.repeat(126))], 1002],
    ['a continuation of nothing', [frame(0, 'x')], 1002],
    ['a message inside a message', [frame(TEXT, 'a', { fin: false }), frame(TEXT, 'b')], 1002],
    ['a close frame of one byte', [frame(CLOSE, [3])], 1002],
    ['a close code that nobody may send', [frame(CLOSE, [0x03, 0xed])], 1002],
    ['a close reason that is not UTF-8', [frame(CLOSE, [0x03, 0xe8, 0xff])], 1007],
    ['a message above 64 KiB', [frame(TEXT, JSON.stringify({ type: 'ping', x: 'x'.repeat(65_536) }))], 1009],
    ['a message that says it has 2^62 bytes', [Buffer.from([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], 1009],
    ['a length with its highest bit', [Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], [1002, 1009]],
    [
      'fragments that together exceed 64 KiB',
      [frame(TEXT, 'x'.repeat(40_000), { fin: false }), frame(0, 'x'.repeat(40_000))],
      1009,
    ],
    [
      'more than 1,024 fragments',
      [frame(TEXT, '"', { fin: false }), ...Array.from({ length: 1_100 }, () => frame(0, 'x', { fin: false }))],
      [1002, 1008, 1009],
    ],
  ];
  for (const [name, frames, codes] of cases) {
    test(`${name}: ${codes}`, async () => {
      for (const secure of [false, true]) {
        const raw = await Raw.upgrade(secure ? pod.port : pod.plainPort, { secure });
        for (const bytes of frames) raw.send(bytes);
        const { code } = await raw.close();
        assert.ok([codes].flat().includes(code), `closed with ${code}`);
      }
    });
  }

  test('the largest message that is allowed passes', async () => {
    const client = await Client.open(pod.tlsUrl);
    const room = (size) => ({ type: 'unsubscribe', room: 'plain:none', padding: 'x'.repeat(size) });
    const bare = JSON.stringify({ ...room(0), id: 'id-1' }).length;
    const reply = await client.request(room(client.welcome.limits.max_message_bytes - bare));
    assert.equal(reply.code, 'not_subscribed');
    await client.close();
  });

  test('a binary message is answered with an error', async () => {
    const raw = await Raw.upgrade(pod.plainPort);
    assert.equal((await raw.message()).type, 'welcome');
    raw.send(frame(BINARY, '{"type":"ping"}'));
    assert.equal((await raw.message()).code, 'bad_request');
    raw.socket.destroy();
  });

  test('frames cut at every byte are the same frames', async () => {
    const raw = await Raw.upgrade(pod.plainPort);
    raw.socket.setNoDelay(true);
    await raw.message();
    for (const byte of Buffer.concat([
      frame(TEXT, '{"type":"pi', { fin: false }),
      frame(PING, 'hi'),
      frame(0, 'ng"}'),
    ])) {
      raw.send(Buffer.from([byte]));
      await sleep(1);
    }
    const pong = await raw.frame();
    assert.deepEqual([pong.opcode, pong.data.toString()], [PONG, 'hi']);
    assert.equal((await raw.message()).type, 'pong');
    raw.socket.destroy();
  });
});

describe('commands', () => {
  const code = async (client, text) => {
    client.send(text);
    const { code, message, raw } = await client.next('error');
    assert.match(message, /./, raw);
    return code;
  };

  test('what is no command is an error, and the connection goes on', async () => {
    const client = await Client.open(pod.tlsUrl);
    const table = [
      ['not json', 'bad_request'],
      ['', 'bad_request'],
      ['[]', 'bad_request'],
      ['null', 'bad_request'],
      ['{}', 'bad_request'],
      ['{"type":7}', 'bad_request'],
      ['{"type":"dance"}', 'unknown_command'],
      ['{"type":"subscribe"}', 'bad_request'],
      ['{"type":"subscribe","room":7}', 'bad_request'],
      ['{"type":"subscribe","room":["a"]}', 'bad_request'],
      ['{"type":"subscribe","rooms":"a"}', 'bad_request'],
      ['{"type":"subscribe","room":"a","since":{"epoch":1,"offset":"x"}}', 'bad_request'],
      ['{"type":"subscribe","room":"a","since":{"epoch":"e","offset":-1}}', 'bad_request'],
      ['{"type":"subscribe","room":"a","since":{"epoch":"e","offset":9007199254740993}}', 'bad_request'],
      ['{"type":"publish","room":"open:a","data":1}', 'bad_request'],
      ['{"type":"publish","room":"open:a","topic":"t"}', 'bad_request'],
      ['{"type":"publish","room":"open:a","topic":"t","data64":"%"}', 'bad_request'],
      [`${'['.repeat(20_000)}${']'.repeat(20_000)}`, 'bad_request'],
    ];
    for (const [text, expected] of table) {
      assert.equal(await code(client, text), expected, text.slice(0, 80));
      // Within the budget of errors: this is about each answer, `floods` is about many.
      await sleep(120);
    }
    assert.equal((await client.request({ type: 'ping' })).type, 'pong');
    await client.close();
  });

  test('an error carries the id of its command', async () => {
    const client = await Client.open(pod.tlsUrl);
    assert.equal((await client.request({ type: 'dance' })).code, 'unknown_command');
    assert.equal((await client.request({ type: 'subscribe', room: 7 })).code, 'bad_request');
    await client.close();
  });

  test('room names with braces, white space, control characters or 256 bytes are refused', async () => {
    const client = await Client.open(pod.tlsUrl);
    for (const room of [
      'a{b',
      'a}b',
      '{a}',
      'a b',
      'a\tb',
      'a\nb',
      'a\u0000b',
      'a\u0085b',
      'a\u2003b',
      '',
      'x'.repeat(256),
    ]) {
      assert.equal((await client.request({ type: 'subscribe', room })).code, 'bad_room', JSON.stringify(room));
      await sleep(120);
    }
    await client.subscribe('é'.repeat(127));
    await client.close();
  });

  test('joining and publishing without the right is refused', async () => {
    const client = await Client.open(pod.tlsUrl);
    const publish = { type: 'publish', room: 'plain:a', topic: 't', data: 1 };
    assert.equal((await client.request(publish)).code, 'forbidden');
    assert.equal((await client.request({ type: 'subscribe', room: 'closed:a' })).code, 'forbidden');
    await client.subscribe('plain:a');
    assert.equal((await client.request(publish)).code, 'forbidden');
    assert.equal((await client.request({ type: 'subscribe', room: 'plain:a' })).code, 'already_subscribed');
    await client.close();
  });

  test('the 129th room is refused', async () => {
    const client = await Client.open(pod.tlsUrl);
    const limit = client.welcome.limits.max_rooms;
    assert.equal(limit, 128);
    const names = Array.from({ length: limit + 1 }, (_, n) => ({ room: `plain:limit-${n}` }));
    client.send({ type: 'subscribe', rooms: names.slice(0, limit) });
    for (let n = 0; n < limit; n++) await client.next('subscribed');
    assert.equal((await client.request({ type: 'subscribe', ...names[limit] })).code, 'limit_exceeded');
    await client.close();
  });

  test('a flood is told first and closed if it goes on', async () => {
    const client = await Client.open(pod.tlsUrl);
    const flood = setInterval(() => {
      for (let n = 0; n < 500 && client.ws.readyState === 1; n++) client.send({ type: 'ping' });
    }, 10);
    try {
      assert.equal((await client.next('error')).code, 'rate_limited');
      const ended = await Promise.race([client.closed, sleep(10_000)]);
      assert.equal(ended?.code, 4029);
    } finally {
      clearInterval(flood);
    }
  });
});
