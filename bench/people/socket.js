// A WebSocket that costs its process as little as can be: no compression, a mask of zeros (RFC 6455 asks for one that cannot be
// guessed, which matters to proxies and not here), text in and out.

import net from 'node:net';

/** A text as a frame of a client. */
export function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.alloc(6) : Buffer.alloc(8);
  head[0] = 0x81;
  if (body.length < 126) {
    head[1] = 0x80 | body.length;
  } else {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(body.length, 2);
  }
  return Buffer.concat([head, body]);
}

const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

export class Socket {
  #rest = null;

  /** Connects to `/ws` of a port of this machine; `take` gets each text. Resolves when it is open, and fails if it does not open. */
  static open(port, { token, protocol, query = '', take = () => {} }) {
    const socket = new Socket();
    socket.take = take;
    const head = [
      `GET /ws${query} HTTP/1.1`,
      'Host: localhost',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      `Authorization: Bearer ${token}`,
      ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
    ];
    const raw = (socket.raw = net.connect({ port, host: '127.0.0.1', noDelay: true }));
    socket.ended = new Promise((ended) => raw.once('close', ended));
    raw.write(`${head.join('\r\n')}\r\n\r\n`);
    return new Promise((open, failed) => {
      let answer = Buffer.alloc(0);
      const begin = (bytes) => {
        answer = Buffer.concat([answer, bytes]);
        const end = answer.indexOf('\r\n\r\n');
        if (end < 0) return;
        raw.off('data', begin);
        const status = answer.subarray(9, 12).toString();
        if (status !== '101') return (failed(new Error(`answered ${status}`)), raw.destroy());
        raw.on('data', (more) => socket.#read(more));
        open(socket);
        socket.#read(answer.subarray(end + 4));
      };
      raw.on('data', begin);
      raw.on('error', failed);
      raw.once('close', () => failed(new Error('it ended before it was open')));
    });
  }

  #read(bytes) {
    const all = this.#rest ? Buffer.concat([this.#rest, bytes]) : bytes;
    let at = 0;
    while (all.length - at >= 2) {
      let [length, begin] = [all[at + 1] & 0x7f, at + 2];
      if (length === 126) {
        if (all.length - at < 4) break;
        [length, begin] = [all.readUInt16BE(at + 2), at + 4];
      } else if (length === 127) {
        if (all.length - at < 10) break;
        [length, begin] = [Number(all.readBigUInt64BE(at + 2)), at + 10];
      }
      if (all.length < begin + length) break;
      const kind = all[at] & 0x0f;
      if (kind === 1) this.take(all.latin1Slice(begin, begin + length), this);
      else if (kind === 9) this.raw.write(PONG);
      else if (kind === 8) this.raw.end();
      at = begin + length;
    }
    this.#rest = at < all.length ? Buffer.from(all.subarray(at)) : null;
  }

  send(message) {
    this.raw.write(frame(JSON.stringify(message)));
  }

  close() {
    this.raw.destroy();
  }
}
