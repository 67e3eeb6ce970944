// A WebTransport session as a link.
//
// Owns what docs/PROTOCOL.md says of streams: lengths before messages, a stream for each room, deflate, datagrams. Always holds: the
// messages of one stream come in order; a stream that broke ends the session, because it has lost events.

import { LOST } from './close_codes.js';
import type { Dialing, Link, LinkEvents } from './link.js';
import { bytesOf, type Command, type Message } from './message.js';
import { type Fetch, type Platform, platform, type Readable, type WebTransportLike } from './platform.js';

const LENGTH = 4;
/** The end of a session says why, and comes a little later than that of its streams. */
const END_WITHIN = 1_000;

/** What `GET /certificate-hashes` answers. */
interface CertificateHashes {
  readonly port: number | null;
  readonly hashes: readonly { algorithm: string; value: string }[];
}

type Take = (chunk: Uint8Array) => void;

export function dial({ endpoint, means }: Dialing, on: LinkEvents): Link {
  const session = new Session(on);
  session.open(endpoint, means.fetch as Fetch).catch(session.failed);
  return session;
}

class Session implements Link {
  readonly #on: LinkEvents;
  readonly #cut = new platform.AbortController();
  #over = false;
  #transport: WebTransportLike | undefined;
  #write: ((bytes: Uint8Array) => Promise<void>) | undefined;

  constructor(on: LinkEvents) {
    this.#on = on;
  }

  async open(endpoint: string, fetch: Fetch): Promise<void> {
    const answer = await fetch(`${endpoint}/certificate-hashes`, { cache: 'no-store', signal: this.#cut.signal });
    const { port, hashes } = (await answer.json()) as CertificateHashes;
    if (this.#over) return;
    if (!port) throw new Error('this pod has no WebTransport');
    const pinned = hashes.map(({ algorithm, value }) => ({ algorithm, value: bytesOf(value) }));
    // No name that could mean ::1 first: browsers do not try the other address.
    const host = endpoint.replace(/^https?:\/\/(\[[^\]]*\]|[^:/]*).*$/, '$1').replace(/^localhost$/, '127.0.0.1');
    const { WebTransport } = platform as Required<Platform>;
    const transport = new WebTransport(`https://${host}:${port}/wt?compression=deflate-raw`, {
      protocols: ['roomcast.v1'],
      ...(pinned[0] && { serverCertificateHashes: pinned }),
    });
    this.#transport = transport;
    transport.closed.then(
      ({ closeCode, reason }) => this.#end(closeCode || LOST, reason ?? ''),
      (error) => this.#end(LOST, String(error)),
    );
    await transport.ready;
    const { readable, writable } = await transport.createBidirectionalStream();
    const writer = writable.getWriter();
    this.#write = (bytes) => writer.write(bytes);
    // A stream is there for the server when something comes on it.
    this.send({ type: 'ping' });
    this.#each(readable, this.#messages());
    this.#each(transport.incomingUnidirectionalStreams, (room) => this.#room(room));
    this.#each(transport.datagrams.readable, (datagram) => {
      // A chunk of the room's stream by itself; a last, empty block ends it.
      const inflate = this.#inflate(this.#messages(true), () => {});
      inflate(datagram);
      inflate(Uint8Array.of(3, 0));
    });
  }

  send(command: Command): void {
    const bytes = new platform.TextEncoder().encode(JSON.stringify(command));
    const message = new Uint8Array(LENGTH + bytes.length);
    new DataView(message.buffer).setUint32(0, bytes.length);
    message.set(bytes, LENGTH);
    this.#write?.(message).catch(this.failed);
  }

  close(): void {
    this.#over = true;
    this.#cut.abort();
    try {
      this.#transport?.close({ closeCode: 1000, reason: '' });
    } catch {
      // It never opened.
    }
  }

  readonly failed = (error: unknown): void => {
    const end = () => this.#end(LOST, String(error));
    if (this.#transport) platform.setTimeout(end, END_WITHIN);
    else end();
  };

  #end(code: number, reason: string): void {
    if (this.#over) return;
    this.close();
    this.#on.close(code, reason);
  }

  /** The first byte of a room's stream says whether the rest is compressed. */
  #room(stream: Readable<Uint8Array>): void {
    let take: Take | undefined;
    this.#each(stream, (chunk) => {
      if (take || chunk.length === 0) return take?.(chunk);
      const messages = this.#messages();
      take = chunk[0] === 1 ? this.#inflate(messages) : messages;
      take(chunk.subarray(1));
    });
  }

  #inflate(take: Take, failed = this.failed): Take {
    const { DecompressionStream } = platform as Required<Platform>;
    const { readable, writable } = new DecompressionStream('deflate-raw');
    const writer = writable.getWriter();
    this.#each(readable, take, failed);
    return (chunk) => void writer.write(chunk).catch(failed);
  }

  /** Takes chunks of bytes in, and tells the messages behind their lengths. */
  #messages(datagram = false): Take {
    const text = new platform.TextDecoder('utf-8', { fatal: true });
    let bytes = new Uint8Array(0);
    return (chunk) => {
      const all = new Uint8Array(bytes.length + chunk.length);
      all.set(bytes);
      all.set(chunk, bytes.length);
      const view = new DataView(all.buffer);
      let at = 0;
      while (at + LENGTH <= all.length) {
        const end = at + LENGTH + view.getUint32(at);
        if (end > all.length) break;
        const message = JSON.parse(text.decode(all.subarray(at + LENGTH, end))) as Message;
        if (!this.#over) this.#on.message(message, datagram);
        at = end;
      }
      bytes = all.slice(at);
    };
  }

  #each<T>(stream: Readable<T>, take: (chunk: T) => void, failed = this.failed): void {
    const reader = stream.getReader();
    const read = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || value === undefined) return;
        take(value);
      }
    };
    read().catch(failed);
  }
}
