// permessage-deflate (RFC 7692) as npm `ws` and a bare socket negotiate it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';

import { Client } from '../support/client.js';
import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { frame, Raw, TEXT } from '../support/raw.js';

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
after(() => pod?.stop());

/** JSON that compresses well, and differs from call to call. */
const wordy = (n) => ({ n, items: Array.from({ length: 60 }, (_, i) => ({ name: `item ${i}`, price: n * i })) });

/** Publishes to a room of its own and through `client`, and checks that everything arrives as it left. */
async function converse(client, room, up = true) {
  const { offset } = await client.subscribe(room);
  const sent = [];
  for (let n = 0; n < 12; n++) {
    // Small and large in turn: some frames are compressed, some are not.
    const data = n % 3 === 0 ? { n } : wordy(n);
    sent.push(data);
    if (up && n % 2) {
      const reply = await client.request({ type: 'publish', room, topic: 'up', data });
      assert.equal(reply.type, 'published', reply.raw);
    } else await pod.publish(room, data);
  }
  const events = await client.events(room, sent.length, offset);
  assert.deepEqual(
    events.map(({ data }) => data),
    sent,
  );
}

describe('npm ws', () => {
  const offers = [
    ['no deflate', false],
    ['its default offer (context takeover)', true],
    ['no context takeover by the server', { serverNoContextTakeover: true }],
    ['no context takeover by the client', { clientNoContextTakeover: true }],
    ['no context takeover at all', { serverNoContextTakeover: true, clientNoContextTakeover: true }],
    ['a client window of 9 bits', { clientMaxWindowBits: 9 }],
    ...[9, 10, 11, 12, 13, 14, 15].map((bits) => [`a server window of ${bits} bits`, { serverMaxWindowBits: bits }]),
    [
      'all four parameters',
      {
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 10,
        clientMaxWindowBits: 10,
      },
    ],
  ];
  for (const [name, offer] of offers) {
    test(name, async () => {
      const perMessageDeflate = offer === false ? false : { threshold: 0, ...(offer === true ? {} : offer) };
      const client = await Client.open(pod.tlsUrl, { perMessageDeflate });
      if (offer === false) assert.equal(client.extensions, '');
      else {
        const answer = parse(client.extensions);
        assert.equal(answer.name, 'permessage-deflate', client.extensions);
        assert.equal(answer.client_no_context_takeover, true, 'is answered whatever was asked');
        assert.equal(answer.server_no_context_takeover, offer.serverNoContextTakeover);
        if (offer.serverMaxWindowBits) assert.equal(Number(answer.server_max_window_bits), offer.serverMaxWindowBits);
      }
      await converse(client, `open:${name.replaceAll(' ', '-')}`);
      assert.equal((await client.close()).code, 1000);
    });
  }

  test('clients with different windows share a room', async () => {
    const bits = [9, 11, 15, false];
    const clients = await Promise.all(
      bits.map((serverMaxWindowBits) =>
        Client.open(pod.tlsUrl, { perMessageDeflate: serverMaxWindowBits && { serverMaxWindowBits } }),
      ),
    );
    const starts = await Promise.all(clients.map((client) => client.subscribe('open:mixed')));
    const sent = Array.from({ length: 10 }, (_, n) => wordy(n));
    for (const data of sent) await pod.publish('open:mixed', data);
    for (const [n, client] of clients.entries()) {
      const events = await client.events('open:mixed', sent.length, starts[n].offset);
      assert.deepEqual(
        events.map(({ data }) => data),
        sent,
      );
      await client.close();
    }
  });
});

describe('a bare socket', () => {
  const upgrade = (offer, secure = false) =>
    Raw.upgrade(secure ? pod.port : pod.plainPort, { secure, headers: { 'Sec-WebSocket-Extensions': offer } });

  /** Subscribes; the `subscribed` reply, which is uncompressed as every reply. */
  async function subscribe(raw, room) {
    assert.equal((await raw.message()).type, 'welcome');
    raw.send(frame(TEXT, JSON.stringify({ type: 'subscribe', room })));
    const reply = await raw.message();
    assert.deepEqual([reply.type, reply.compressed], ['subscribed', false]);
  }

  test('a broadcast is compressed, a reply and a small frame are not', async () => {
    const raw = await upgrade('permessage-deflate', true);
    await subscribe(raw, 'open:bare');
    await pod.publish('open:bare', wordy(1));
    const large = await raw.message();
    assert.deepEqual(large.events[0].data, wordy(1));
    assert.ok(large.compressed && large.bytes < JSON.stringify(wordy(1)).length / 2, `${large.bytes} bytes`);
    await pod.publish('open:bare', 1);
    assert.equal((await raw.message()).compressed, false);
    raw.socket.destroy();
  });

  test('the window that was asked for is kept', async () => {
    // Noise twice, 3,000 bytes apart: a window of 4,096 bytes and more halves it, a smaller one must not reach back.
    const noise = randomBytes(1_500).toString('hex');
    const sizes = [];
    for (const bits of [9, 11, 12, 15]) {
      const raw = await upgrade(`permessage-deflate; server_max_window_bits=${bits}`);
      assert.equal(Number(parse(raw.answer.headers['sec-websocket-extensions']).server_max_window_bits), bits);
      await subscribe(raw, `open:window-${bits}`);
      await pod.publish(`open:window-${bits}`, [noise, noise]);
      const message = await raw.message(bits);
      assert.ok(message.compressed);
      assert.deepEqual(message.events[0].data, [noise, noise]);
      sizes.push(message.bytes);
      raw.socket.destroy();
    }
    // Hex alone halves the noise; reaching back halves it again.
    const [nine, eleven, twelve, fifteen] = sizes;
    assert.ok(twelve < nine * 0.7 && fifteen < eleven * 0.7, `${sizes}`);
  });

  test('offers that cannot be met are declined, the next one is taken', async () => {
    const answer = async (offer) => {
      const raw = await upgrade(offer);
      assert.equal(raw.answer.status, 101);
      assert.equal((await raw.message()).type, 'welcome');
      raw.socket.destroy();
      return parse(raw.answer.headers['sec-websocket-extensions'] ?? '');
    };
    for (const bad of [
      'server_max_window_bits=8',
      'server_max_window_bits=7',
      'server_max_window_bits=16',
      'server_max_window_bits',
      'server_max_window_bits=abc',
      'client_max_window_bits=16',
      'server_no_context_takeover=1',
      'server_no_context_takeover; server_no_context_takeover',
      'unknown_parameter',
    ]) {
      assert.deepEqual(await answer(`permessage-deflate; ${bad}`), { name: '' }, bad);
      const fallback = await answer(`permessage-deflate; ${bad}, permessage-deflate`);
      assert.deepEqual(fallback, { name: 'permessage-deflate', client_no_context_takeover: true }, bad);
    }
    assert.deepEqual(await answer('x-webkit-deflate-frame, permessage-foo'), { name: '' });
    // A client that can bound its own window may be told to; it must not be told if it did not say so.
    assert.equal((await answer('permessage-deflate')).client_max_window_bits, undefined);
  });

  test('a compressed uplink is understood, fragmented or not', async () => {
    const raw = await upgrade('permessage-deflate; client_max_window_bits');
    assert.equal((await raw.message()).type, 'welcome');
    const room = 'open:uplink';
    const publish = (data) => deflate(JSON.stringify({ type: 'publish', room, topic: 't', data }));
    raw.send(frame(TEXT, publish(wordy(1)), { rsv1: true }));
    assert.equal((await raw.message()).type, 'published');
    const body = publish(wordy(2));
    raw.send(frame(TEXT, body.subarray(0, 20), { rsv1: true, fin: false }));
    raw.send(frame(9, 'between'));
    raw.send(frame(0, body.subarray(20, 21), { fin: false }));
    raw.send(frame(0, body.subarray(21)));
    assert.equal((await raw.message()).type, 'published');
    raw.send(frame(TEXT, JSON.stringify({ type: 'publish', room, topic: 't', data: 3 })));
    assert.equal((await raw.message()).offset, 3);
    raw.socket.destroy();
  });

  test('compressed frames without the extension, and on a continuation, are protocol errors', async () => {
    const without = await Raw.upgrade(pod.plainPort);
    without.send(frame(TEXT, deflate('{"type":"ping"}'), { rsv1: true }));
    assert.equal((await without.close()).code, 1002);
    const later = await upgrade('permessage-deflate');
    const body = deflate('{"type":"ping"}');
    later.send(frame(TEXT, body.subarray(0, 4), { rsv1: true, fin: false }));
    later.send(frame(0, body.subarray(4), { rsv1: true }));
    assert.equal((await later.close()).code, 1002);
  });

  test('what does not inflate is invalid data', async () => {
    const raw = await upgrade('permessage-deflate');
    raw.send(frame(TEXT, Buffer.from([0xff, 0xff, 0xff, 0xff]), { rsv1: true }));
    assert.equal((await raw.close()).code, 1007);
  });

  test('an inflate bomb of 10 MB is refused', async () => {
    const raw = await upgrade('permessage-deflate');
    const bomb = deflate(`{"type":"publish","room":"open:b","topic":"t","data":"${'x'.repeat(10 * 1024 * 1024)}"}`);
    assert.ok(bomb.length < 64 * 1024, `small on the wire: ${bomb.length}`);
    raw.send(frame(TEXT, bomb, { rsv1: true }));
    assert.equal((await raw.close()).code, 1009);
  });
});

/** A message as permessage-deflate sends it (RFC 7692 section 7.2.1). */
function deflate(text) {
  return deflateRawSync(text, { finishFlush: 2 /* Z_SYNC_FLUSH */ }).subarray(0, -4);
}

/** The first extension of a header: its name, and its parameters by name. */
function parse(header) {
  const [name, ...parameters] = header
    .split(',')[0]
    .split(';')
    .map((part) => part.trim());
  return Object.fromEntries([
    ['name', name],
    ...parameters.map((parameter) => {
      const [key, value = true] = parameter.split('=');
      return [key, value];
    }),
  ]);
}
