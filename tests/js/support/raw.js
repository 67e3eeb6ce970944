// A WebSocket client that may break every rule: it sends the bytes it is told, and reads frames without mercy.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { inflateRawSync } from 'node:zlib';

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** One frame as a client sends it (RFC 6455 section 5.2): masked unless told otherwise. */
export function frame(opcode, payload, { fin = true, rsv1 = false, masked = true } = {}) {
  const body = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode];
  const mask = masked ? 0x80 : 0;
  if (body.length < 126) head.push(mask | body.length);
  else if (body.length < 65_536) head.push(mask | 126, body.length >> 8, body.length & 255);
  else {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(body.length));
    head.push(mask | 127, ...length);
  }
  if (!masked) return Buffer.concat([Buffer.from(head), body]);
  const key = randomBytes(4);
  for (let i = 0; i < body.length; i++) body[i] ^= key[i & 3];
  return Buffer.concat([Buffer.from(head), key, body]);
}

export class Raw {
  #bytes = Buffer.alloc(0);
  #ended = false;

  /** A TCP or TLS connection to `port` of 127.0.0.1, nothing sent yet. */
  static async connect(port, { secure = false } = {}) {
    const raw = new Raw();
    const socket = secure
      ? tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
      : net.connect(port, '127.0.0.1');
    raw.socket = socket;
    raw.since = Date.now();
    raw.gone = new Promise((gone) => socket.once('close', () => gone(Date.now() - raw.since)));
    socket.on('data', (bytes) => {
      raw.#bytes = Buffer.concat([raw.#bytes, bytes]);
      socket.emit('progress');
    });
    // A reset is an end like any other: tests say which bytes they want before it.
    socket.on('error', () => {});
    socket.once('close', () => {
      raw.#ended = true;
      socket.emit('progress');
    });
    await once(socket, secure ? 'secureConnect' : 'connect');
    return raw;
  }

  /** Connects and upgrades; `headers` are added to or replace those of a correct request. */
  static async upgrade(port, { secure = false, path = '/ws', headers = {} } = {}) {
    const raw = await Raw.connect(port, { secure });
    const all = {
      Host: 'localhost',
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    raw.send(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    raw.answer = await raw.head();
    return raw;
  }

  send(bytes) {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** `{status, headers}` of the answer. */
  async head() {
    const end = () => this.#bytes.indexOf('\r\n\r\n');
    await this.#until(() => end() >= 0, 'an HTTP answer');
    const [first, ...lines] = this.#take(end() + 4)
      .toString('latin1')
      .trimEnd()
      .split('\r\n');
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    return { status: Number(first.split(' ')[1]), headers };
  }

  /** The next frame; `data` is its payload, as it came. */
  async frame() {
    const size = () => {
      const b = this.#bytes;
      if (b.length < 2) return Infinity;
      const short = b[1] & 127;
      if (short < 126) return 2 + short;
      if (short === 126) return b.length < 4 ? Infinity : 4 + b.readUInt16BE(2);
      return b.length < 10 ? Infinity : 10 + Number(b.readBigUInt64BE(2));
    };
    await this.#until(() => this.#bytes.length >= size(), 'a frame');
    const whole = this.#take(size());
    if (whole[1] & 0x80) throw new Error('the pod masked a frame');
    const start = (whole[1] & 127) < 126 ? 2 : (whole[1] & 127) === 126 ? 4 : 10;
    const [opcode, data] = [whole[0] & 15, whole.subarray(start)];
    return { fin: !!(whole[0] & 0x80), rsv: (whole[0] >> 4) & 7, opcode, data };
  }

  /** The next message that is not a control frame, as an object; inflated within `windowBits` if it is compressed. */
  async message(windowBits = 15) {
    for (;;) {
      const { fin, rsv, opcode, data } = await this.frame();
      if (opcode >= CLOSE) continue;
      if (!fin) throw new Error('the pod sent a fragment');
      const text =
        rsv === 4 ? inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 255, 255, 3, 0])]), { windowBits }) : data;
      return { compressed: rsv === 4, bytes: data.length, ...JSON.parse(text.toString()) };
    }
  }

  /** Skips everything up to the close frame; its code and reason. Then the pod must end the connection. */
  async close() {
    for (;;) {
      const { opcode, data } = await this.frame();
      if (opcode !== CLOSE) continue;
      const code = data.length >= 2 ? data.readUInt16BE(0) : 1005;
      this.send(frame(CLOSE, data.subarray(0, 2)));
      await this.#until(() => this.#ended, 'the end of the connection after its close frame');
      return { code, reason: data.subarray(2).toString() };
    }
  }

  /** Skips the body of an answer. */
  async skip(count) {
    await this.#until(() => this.#bytes.length >= count, `a body of ${count} bytes`);
    this.#take(count);
  }

  #take(count) {
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  async #until(done, what, patience = 5_000) {
    const signal = AbortSignal.timeout(patience);
    while (!done()) {
      if (this.#ended) throw new Error(`the pod ended the connection instead of ${what}`);
      await once(this.socket, 'progress', { signal }).catch(() => {
        throw new Error(`no ${what} within ${patience} ms`);
      });
    }
  }
}
