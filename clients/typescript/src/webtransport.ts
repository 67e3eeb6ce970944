// A WebTransport session as a link.
//
// Owns what docs/PROTOCOL.md says of streams: lengths before messages, a stream for each room, deflate, datagrams. Always holds: the
// messages of one stream come in order.

import { LOST } from './close_codes.js';
import type { LinkEvents, Transport } from './link.js';
import { bytesOf, type Command, type Message } from './message.js';
import { type Fetch, platform, type Readable, type WebTransportLike } from './platform.js';

const LENGTH = 4;

interface CertificateHashes {
  readonly port: number | null;
  readonly hashes: readonly { algorithm: string; value: string }[];
}

export const webtransport: Transport = {
  name: 'webtransport',
  isPossible: ({ fetch }) => !!(platform.WebTransport && platform.DecompressionStream && fetch),
  dial({ endpoint, means: { fetch } }, on) {
    if (!fetch) throw new Error('there is no fetch here');
    const session = new Session(on);
    session.open(endpoint, fetch).catch((error) => session.failed(error));
    return session;
  },
};

class Session {
  readonly sends = true;
  readonly #on: LinkEvents;
  #ended = false;
  #transport: WebTransportLike | undefined;
  #write: ((bytes: Uint8Array) => Promise<void>) | undefined;

  constructor(on: LinkEvents) {
    this.#on = on;
  }

  async open(endpoint: string, fetch: Fetch): Promise<void> {
    const { WebTransport } = platform;
    if (!WebTransport) throw new Error('there is no WebTransport here');
    const answer = await fetch(`${endpoint}/certificate-hashes`, { cache: 'no-store' });
    const { port, hashes } = (await answer.json()) as CertificateHashes;
    if (this.#ended) return;
    if (port === null) throw new Error('this pod has no WebTransport');
    const pinned = hashes.map(({ algorithm, value }) => ({ algorithm, value: bytesOf(value) }));
    // No name that could mean ::1 first: browsers do not try the other address.
    const host = endpoint.replace(/^https?:\/\/(\[[^\]]*\]|[^:/]*).*$/, '$1').replace(/^localhost$/, '127.0.0.1');
    const transport = new WebTransport(`https://${host}:${port}/wt?compression=deflate-raw`, {
      protocols: ['roomcast.v1'],
      ...(pinned.length > 0 && { serverCertificateHashes: pinned }),
    });
    this.#transport = transport;
    transport.closed.then(
      ({ closeCode, reason }) => this.ended(closeCode || LOST, reason ?? ''),
      (error) => this.ended(LOST, String(error)),
    );
    await transport.ready;
    const { readable, writable } = await transport.createBidirectionalStream();
    const writer = writable.getWriter();
    this.#write = (bytes) => writer.write(bytes);
    // A stream is there for the server when something comes on it.
    this.send({ type: 'ping' });
    const failed = (error: unknown) => this.failed(error);
    this.#read(readable).catch(failed);
    each(transport.incomingUnidirectionalStreams, (room) => void this.#room(room).catch(failed)).catch(failed);
    each(transport.datagrams.readable, (datagram) => {
      // A chunk of the room's stream by itself; a last, empty block ends it. Nothing is missed where one cannot be read.
      const whole = this.#stream([datagram, Uint8Array.of(3, 0)]);
      this.#read(this.#inflated(whole), true).catch(() => {});
    }).catch(failed);
  }

  send(command: Command): void {
    const bytes = new platform.TextEncoder().encode(JSON.stringify(command));
    const message = new Uint8Array(LENGTH + bytes.length);
    new DataView(message.buffer).setUint32(0, bytes.length);
    message.set(bytes, LENGTH);
    this.#write?.(message).catch(() => {});
  }

  close(): void {
    this.#ended = true;
    try {
      this.#transport?.close({ closeCode: 1000, reason: '' });
    } catch {
      // It never opened.
    }
  }

  ended(code: number, reason: string): void {
    if (this.#ended) return;
    this.close();
    this.#on.close(code, reason);
  }

  /** A stream that broke has lost events. Where the session broke with it, its end says why, and comes a little later. */
  failed(error: unknown): void {
    const end = () => this.ended(LOST, String(error));
    if (this.#transport) platform.setTimeout(end, 1_000);
    else end();
  }

  /** The first byte of a room's stream says whether the rest is compressed. */
  async #room(stream: Readable<Uint8Array>): Promise<void> {
    const reader = stream.getReader();
    let first: Uint8Array | undefined;
    do {
      first = (await reader.read()).value;
    } while (first?.length === 0);
    if (!first) return;
    const rest = this.#stream([first.subarray(1)], reader);
    await this.#read(first[0] === 1 ? this.#inflated(rest) : rest);
  }

  #inflated(stream: Readable<Uint8Array>): Readable<Uint8Array> {
    const { DecompressionStream } = platform;
    return DecompressionStream ? stream.pipeThrough(new DecompressionStream('deflate-raw')) : stream;
  }

  /** A stream of these chunks, and then of what the reader has. */
  #stream(chunks: Uint8Array[], reader?: { read(): Promise<{ done: boolean; value?: Uint8Array }> }) {
    const { ReadableStream } = platform;
    if (!ReadableStream) throw new Error('there are no streams here');
    return new ReadableStream({
      async pull(to) {
        let chunk = chunks.shift();
        while (chunk?.length === 0) chunk = chunks.shift();
        chunk ??= (await reader?.read())?.value;
        if (chunk) to.enqueue(chunk);
        else to.close();
      },
    });
  }

  /** Messages behind their lengths, out of chunks of bytes. */
  async #read(stream: Readable<Uint8Array>, datagram = false): Promise<void> {
    const text = new platform.TextDecoder('utf-8', { fatal: true });
    let bytes = new Uint8Array(0);
    await each(stream, (chunk) => {
      const all = new Uint8Array(bytes.length + chunk.length);
      all.set(bytes);
      all.set(chunk, bytes.length);
      const view = new DataView(all.buffer);
      let at = 0;
      while (at + LENGTH <= all.length) {
        const end = at + LENGTH + view.getUint32(at);
        if (end > all.length) break;
        if (!this.#ended)
          this.#on.message(JSON.parse(text.decode(all.subarray(at + LENGTH, end))) as Message, datagram);
        at = end;
      }
      bytes = all.slice(at);
    });
  }
}

async function each<T>(stream: Readable<T>, then: (chunk: T) => void): Promise<void> {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done || value === undefined) return;
    then(value);
  }
}
