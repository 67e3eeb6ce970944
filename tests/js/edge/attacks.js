// What one anonymous address does to a pod's public listener. Each attack holds up to `sockets` sockets, opens at most `rate` of them a
// second, writes what `greet` says, and what `again` says each `every` ms. What ends is opened anew. The same runs against a bare listener.

import { randomBytes } from 'node:crypto';
import { constants, deflateRawSync } from 'node:zlib';

import { frame, TEXT } from '../support/raw.js';

/** A room whose log has about a MiB, and one in which the honest clients are. */
export const BIG = 'edge:big';
export const HONEST = 'edge:honest';

const get = (target) => `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const upgrade = () =>
  'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Protocol: roomcast.v1\r\n\r\n`;
const message = (value) => frame(TEXT, JSON.stringify(value));
const client = (...messages) => Buffer.concat([Buffer.from(upgrade()), ...messages]);
const madeUp = () => ({ room: randomBytes(8).toString('hex') + 'x'.repeat(200) });
const manyRooms = () => message({ type: 'subscribe', rooms: Array.from({ length: 128 }, madeUp) });

/** The first bytes of a ClientHello of 512: a handshake that drips gets no further. */
const hello = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), randomBytes(500)]);
const head = Buffer.from(`GET /ws HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(500)}`);

/** 64 KiB in a hundred bytes (RFC 7692, section 7.2.1). */
const bomb = frame(
  TEXT,
  deflateRawSync(JSON.stringify({ type: 'ping', x: 'x'.repeat(65_000) }), {
    finishFlush: constants.Z_SYNC_FLUSH,
  }).subarray(0, -4),
  { rsv1: true },
);
const compressing = () =>
  upgrade().replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n');

/** `deaf`: nothing that the pod says is read. `tls`: the listener with TLS. `since`: the position before BIG's log. */
export const attacks = {
  'dripping handshakes': {
    ...{ sockets: 2_000, rate: 2_000, every: 1_000, tls: true },
    again: (n) => hello.subarray(n, n + 1),
  },
  'dripping heads': { sockets: 2_000, rate: 2_000, every: 1_000, again: (n) => head.subarray(n, n + 1) },
  'sockets that say nothing': { sockets: 4_000, rate: 2_000 },
  'requests and then nothing': { sockets: 4_000, rate: 1_000, greet: () => get('/nothing') },
  'pipelined requests that are not read': { sockets: 400, rate: 400, deaf: true, greet: () => get('/').repeat(1_500) },
  'requests without end': { sockets: 4, rate: 4, every: 20, again: () => get('/nothing').repeat(200) },
  'preflights without end': {
    ...{ sockets: 4, rate: 4, every: 20 },
    again: () => 'OPTIONS /poll HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\r\n'.repeat(200),
  },
  'refused upgrades without end': {
    ...{ sockets: 200, rate: 400 },
    greet: () => upgrade().replace('\r\n\r\n', '\r\nOrigin: http://evil.example\r\n\r\n'),
  },
  'connects without end': { sockets: 100, rate: 1_500, greet: () => hello, tls: true, brief: true },
  'long-polls that are not read': {
    ...{ sockets: 400, rate: 200, deaf: true },
    greet: (since) => get(`/poll?room=${encodeURIComponent(BIG)}&since=${since.epoch}:0`),
  },
  'event streams that are not read': {
    ...{ sockets: 400, rate: 200, deaf: true },
    greet: (since) => get(`/events?room=${encodeURIComponent(BIG)}&since=${since.epoch}:0`),
  },
  'Socket.IO sessions': {
    ...{ sockets: 8, rate: 8, every: 100 },
    again: () => get('/socket.io/?EIO=4&transport=polling').repeat(50),
  },
  'bodies one byte short': {
    ...{ sockets: 600, rate: 300 },
    greet: () => `POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n${'['.repeat(59_999)}`,
  },
  'half messages': { sockets: 600, rate: 300, greet: () => client(frame(TEXT, ' '.repeat(60_000), { fin: false })) },
  'messages that inflate a thousandfold': { sockets: 64, rate: 64, every: 22, greet: compressing, again: () => bomb },
  'rooms of made-up names': { sockets: 200, rate: 100, every: 1_000, brief: true, greet: () => client(manyRooms()) },
  'one command after another': {
    ...{ sockets: 16, rate: 16, every: 1_000, greet: () => client() },
    again: () => manyRooms(),
  },
  'recoveries without end': {
    ...{ sockets: 16, rate: 16, every: 45, greet: () => client() },
    again: (n, since) =>
      Buffer.concat([
        message({ type: 'unsubscribe', room: BIG }),
        message({ type: 'subscribe', room: BIG, since: { epoch: since.epoch, offset: n % since.offset } }),
      ]),
  },
  'history without end': {
    ...{ sockets: 24, rate: 24, every: 22, greet: () => client() },
    again: (n, since) => message({ type: 'history', room: BIG, since: { epoch: since.epoch, offset: n % 50 } }),
  },
  'history that is not read': {
    ...{ sockets: 400, rate: 200, deaf: true, greet: () => client() },
    ...{ every: 500, again: () => message({ type: 'history', room: BIG }) },
  },
  'receivers that stop reading': {
    ...{ sockets: 400, rate: 200, deaf: true },
    greet: () => client(message({ type: 'subscribe', room: HONEST })),
  },
  'rubbish instead of frames': { sockets: 50, rate: 300, greet: () => client(randomBytes(200)) },
};
