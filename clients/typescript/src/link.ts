// The seam between a client and what carries its messages.
//
// A transport knows no positions and no waiting; a client knows no sockets. Always holds: after `close` of either side nothing
// more is told.

import type { Command, Message } from './message.js';
import type { Means } from './platform.js';

/** What a link tells its client. */
export interface LinkEvents {
  /** `datagram`: it may have overtaken others, and others may be lost. The first message is `welcome`. */
  message(message: Message, datagram?: boolean): void;
  /** It ended. `hint`: milliseconds that the server wants to pass before the next attempt. */
  close(code: number, reason: string, hint?: number): void;
}

/** A connection, or what stands for one. */
export interface Link {
  send(command: Command): void;
  /** Ends it, whether or not it has opened; `close` is not told. */
  close(): void;
}

/** Where a link leads, and with what it is made. */
export interface Dialing {
  /** `https://host:port`, with a path before the pod's own if there is one. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly means: Means;
}

/** A way to carry messages: one of this package's, or an application's own. */
export interface Transport {
  readonly name: string;
  /** Whether it carries all commands, and not only those that join and leave rooms. */
  readonly sends: boolean;
  /** Whether this place has what it takes. */
  isPossible(means: Means): boolean;
  dial(to: Dialing, on: LinkEvents): Link;
}
