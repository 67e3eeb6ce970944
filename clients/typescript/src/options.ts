// What a client is told when it is made.

import type { Clock } from './clock.js';
import type { TokenSource } from './credentials.js';
import { lazily } from './lazily.js';
import type { Transport } from './link.js';
import type { Report } from './listeners.js';
import { type Means, platform, type Storage } from './platform.js';
import { websocket } from './websocket.js';

/** The transports of this package. */
export type TransportName = 'webtransport' | 'websocket' | 'poll';

/** What a client is told when it is made. */
export interface ClientOptions extends Means {
  /** Where the server is: `https://push.example.com`. Of several the one that answers first is taken. */
  readonly url: string | readonly string[];
  /** A token, or a function that gets one; it is called again before the token ends. */
  readonly token?: TokenSource | undefined;
  /** The transports, the best one first; what this place does not have is passed over. */
  readonly transports?: readonly (TransportName | Transport)[] | undefined;
  /** Where it remembers what worked; `localStorage` unless told otherwise, nothing for `null`. */
  readonly storage?: Storage | null | undefined;
  /** Told of what listeners, `load` and `token` threw, and of errors that have no listener. */
  readonly onError?: Report | undefined;
  /** Time and chance, for tests. */
  readonly clock?: Clock | undefined;
}

/** The best one first. What not every place needs is a file of its own, and comes when it is tried. */
const TRANSPORTS: readonly Transport[] = [
  lazily({ name: 'webtransport', isPossible: () => !!platform.WebTransport }, () => import('./webtransport.js')),
  websocket,
  lazily({ name: 'poll', isPossible: ({ fetch }) => !!fetch }, () => import('./poll.js')),
];

/** Transports by their names. */
export const named = (transports: ClientOptions['transports'] = TRANSPORTS): Transport[] =>
  transports.flatMap((one) => (typeof one === 'string' ? TRANSPORTS.filter(({ name }) => name === one) : one));
