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

/** `wss://host/ws`, `https://host/` and `/`: all as `https://host`. */
export function endpointOf(url: string, origin: string | undefined): string {
  const endpoint = url
    .replace(/^\//, `${origin}/`)
    .replace(/^ws/, 'http')
    .replace(/\/(ws)?\/*$/, '');
  if (!/^https?:\/\/[^/]/.test(endpoint)) throw new TypeError(`"${url}" is not like https://host`);
  return endpoint;
}

export interface Choice {
  /** All ways, what worked the last time first. */
  candidates(now: number): Candidate[];
  /** Better ways to the endpoint of this one. */
  better(than: Candidate): Candidate[];
  remember(worked: Candidate, at: number): void;
}

export function choice(
  transports: readonly Transport[],
  endpoints: readonly string[],
  storage: () => Storage | null | undefined,
): Choice {
  const key = `roomcast:${endpoints.join()}`;
  /** A storage that is forbidden or full throws, and so does one that is not there. */
  const trying = <T>(use: (storage: Storage) => T): T | undefined => {
    try {
      return use(storage() as Storage);
    } catch {
      return undefined;
    }
  };
  const ways = (some: readonly Transport[], where: readonly string[], last: readonly string[] = []): Candidate[] =>
    where.flatMap((endpoint) =>
      some.map((transport, at) => {
        const rank = transport.name === last[0] ? 0 : at + 1;
        const away = endpoint === last[1] ? 0 : ENDPOINT_HEAD_START;
        return { transport, endpoint, after: rank * TRANSPORT_HEAD_START + away };
      }),
    );
  return {
    candidates(now) {
      // What it holds of another transport or endpoint matches none of these.
      const last = trying((kept) => kept.getItem(key)?.split(' ')) ?? [];
      const isFresh = Math.abs(now - +(last[2] as string)) < REMEMBERED_FOR;
      return ways(transports, endpoints, isFresh ? last : undefined);
    },
    better: ({ transport, endpoint }) => ways(transports.slice(0, transports.indexOf(transport)), [endpoint]),
    remember: ({ transport, endpoint }, at) =>
      trying((kept) => kept.setItem(key, `${transport.name} ${endpoint} ${at}`)),
  };
}
