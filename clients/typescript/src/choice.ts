// Which ways to a server are tried, in which order, and which one worked the last time.
//
// Always holds: a storage that is forbidden, full or holds something else is like one that is empty.

import type { Transport } from './link.js';
import type { Storage } from './platform.js';
import type { Candidate } from './race.js';

/** For how long what worked is tried first. Then all endpoints race again: another one may be nearer by now. */
const REMEMBERED_FOR = 24 * 3_600_000;
/** What a better transport, and the endpoint that was nearest, have the field to themselves. */
const TRANSPORT_HEAD_START = 1_000;
const ENDPOINT_HEAD_START = 250;

interface Remembered {
  readonly transport: string;
  readonly endpoint: string;
  readonly at: number;
}

/** `wss://host/ws`, `https://host/` and `/`: all as `https://host`. */
export function endpointOf(url: string, origin: string | undefined): string {
  const whole = url.startsWith('/') && origin ? origin + url : url;
  const endpoint = whole.replace(/^ws/, 'http').replace(/\/(ws)?\/*$/, '');
  if (!/^https?:\/\/[^/]/.test(endpoint)) throw new TypeError(`"${url}" is no address of a server: https://host`);
  return endpoint;
}

export class Choice {
  readonly #transports: readonly Transport[];
  readonly #endpoints: readonly string[];
  readonly #storage: Storage | undefined;
  readonly #key: string;

  constructor(transports: readonly Transport[], endpoints: readonly string[], storage: () => Storage | undefined) {
    this.#transports = transports;
    this.#endpoints = endpoints;
    this.#key = `roomcast:${endpoints.join()}`;
    try {
      this.#storage = storage();
    } catch {
      // Forbidden.
    }
  }

  /** All ways, what worked the last time first. */
  candidates(now: number): Candidate[] {
    const last = this.#remembered(now);
    const rank = (transport: Transport, at: number) => (transport.name === last?.transport ? 0 : at + (last ? 1 : 0));
    return this.#endpoints.flatMap((endpoint) =>
      this.#transports.map((transport, at) => ({
        transport,
        endpoint,
        headStart:
          rank(transport, at) * TRANSPORT_HEAD_START + (last && last.endpoint !== endpoint ? ENDPOINT_HEAD_START : 0),
      })),
    );
  }

  /** Better ways to the endpoint of this one. */
  better({ transport, endpoint }: Candidate): Candidate[] {
    const better = this.#transports.slice(0, this.#transports.indexOf(transport));
    return better.map((other, at) => ({ transport: other, endpoint, headStart: at * TRANSPORT_HEAD_START }));
  }

  remember({ transport: { name: transport }, endpoint }: Candidate, at: number): void {
    try {
      this.#storage?.setItem(this.#key, JSON.stringify({ transport, endpoint, at } satisfies Remembered));
    } catch {
      // Full, or forbidden.
    }
  }

  /** What it holds of another transport or endpoint matches none of these. */
  #remembered(now: number): Remembered | undefined {
    try {
      const last = JSON.parse(this.#storage?.getItem(this.#key) ?? 'null') as Remembered | null;
      if (last && Math.abs(now - last.at) < REMEMBERED_FOR) return last;
    } catch {
      // Forbidden, or none of this package's.
    }
    return undefined;
  }
}
