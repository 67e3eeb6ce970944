// A WebTransport session with the face of a WebSocket: messages in, messages out, a close with a code.
//
// Owns what docs/PROTOCOL.md says of streams: lengths before messages, deflated rooms, datagrams. Knows no rooms. Always
// holds: the messages of one stream come in order; `onclose` is called once.

const LENGTH = 4;
const NO_CODE = 1006;

/** Whether this browser has what it takes. */
export const isPossible = () => 'WebTransport' in globalThis && 'DecompressionStream' in globalThis;

/** Messages behind their lengths, out of chunks of bytes. */
class Messages {
  #bytes = new Uint8Array(0);
  #text = new TextDecoder('utf-8', { fatal: true });

  /** The messages that are whole now. */
  *take(chunk) {
    const bytes = new Uint8Array(this.#bytes.length + chunk.length);
    bytes.set(this.#bytes);
    bytes.set(chunk, this.#bytes.length);
    const view = new DataView(bytes.buffer);
    let at = 0;
    while (at + LENGTH <= bytes.length) {
      const end = at + LENGTH + view.getUint32(at);
      if (end > bytes.length) break;
      yield this.#text.decode(bytes.subarray(at + LENGTH, end));
      at = end;
    }
    this.#bytes = bytes.slice(at);
  }
}

/** A command as it travels. */
function framed(text) {
  const bytes = new TextEncoder().encode(text);
  const message = new Uint8Array(LENGTH + bytes.length);
  new DataView(message.buffer).setUint32(0, bytes.length);
  message.set(bytes, LENGTH);
  return message;
}

export class Session {
  readyState = WebSocket.CONNECTING;
  extensions = 'deflate-raw';
  onopen = null;
  onmessage = null;
  onclose = null;
  #transport;
  #commands;

  /** `hashes` pin the certificate where no authority signed it. */
  constructor(url, hashes) {
    const pinned = hashes.map(({ algorithm, value }) => {
      return { algorithm, value: Uint8Array.from(atob(value), (c) => c.charCodeAt(0)) };
    });
    const options = { protocols: ['roomcast.v1'], ...(pinned.length > 0 && { serverCertificateHashes: pinned }) };
    this.#transport = new WebTransport(`${url}?compression=deflate-raw`, options);
    this.#run();
  }

  async #run() {
    const transport = this.#transport;
    transport.closed.then(
      ({ closeCode, reason }) => this.#ended(closeCode || NO_CODE, reason),
      () => this.#ended(NO_CODE, ''),
    );
    try {
      await transport.ready;
      const { readable, writable } = await transport.createBidirectionalStream();
      this.#commands = writable.getWriter();
      // A stream is there for the server when something comes on it.
      this.send('{"type":"ping"}');
      this.readyState = WebSocket.OPEN;
      this.onopen?.();
      this.#read(readable);
      this.#rooms();
      this.#datagrams();
    } catch {
      // `closed` says why.
    }
  }

  send(text) {
    this.#commands.write(framed(text)).catch(() => {});
  }

  close(code = 1000, reason = '') {
    this.readyState = WebSocket.CLOSING;
    try {
      this.#transport.close({ closeCode: code, reason });
    } catch {
      // It never opened.
    }
  }

  #ended(code, reason) {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    this.onclose?.({ code, reason });
  }

  #tell(data, datagram) {
    this.onmessage?.({ data, datagram });
  }

  async #read(readable) {
    const messages = new Messages();
    try {
      for await (const chunk of readable) for (const text of messages.take(chunk)) this.#tell(text, false);
    } catch {
      // The session ended, or the server took the stream back.
    }
  }

  async #rooms() {
    try {
      for await (const stream of this.#transport.incomingUnidirectionalStreams) this.#room(stream);
    } catch {
      // The session ended.
    }
  }

  /** The first byte says whether the rest is compressed. */
  async #room(stream) {
    const reader = stream.getReader();
    try {
      let first = new Uint8Array(0);
      while (first.length === 0) {
        const { value, done } = await reader.read();
        if (done) return;
        first = value;
      }
      const rest = new ReadableStream({
        start: (to) => first.length > 1 && to.enqueue(first.subarray(1)),
        async pull(to) {
          const { value, done } = await reader.read();
          if (done) to.close();
          else to.enqueue(value);
        },
      });
      this.#read(first[0] === 1 ? rest.pipeThrough(new DecompressionStream('deflate-raw')) : rest);
    } catch {
      // The session ended.
    }
  }

  /** Each is a chunk of the room's stream by itself. */
  async #datagrams() {
    try {
      for await (const datagram of this.#transport.datagrams.readable) {
        const end = new Blob([datagram, new Uint8Array([3, 0])]).stream();
        const plain = await new Response(end.pipeThrough(new DecompressionStream('deflate-raw'))).arrayBuffer();
        for (const text of new Messages().take(new Uint8Array(plain))) this.#tell(text, true);
      }
    } catch {
      // The session ended.
    }
  }
}
