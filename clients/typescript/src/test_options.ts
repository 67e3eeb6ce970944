// What a test says of its pod in memory.

import type { Clock } from './index.js';

/** What a pod in memory is told when it is made. */
export interface TestPodOptions {
  /** Rooms that keep the newest value of each key; none unless told otherwise. */
  readonly retains?: (room: string) => boolean;
  /** Judges a token, and says whose it is; everything is let in unless told otherwise. */
  readonly accepts?: (token: string | undefined) => Accepted | undefined;
  /** The room of a user's own, which each of its connections is in unasked and by which it is told what was read; none unless told otherwise. */
  readonly ownRoom?: (user: string) => string;
  /** The application's own server, as calls reach it: what it answers, or an error with a `code` and a `message`; none unless told otherwise. */
  readonly calls?: (method: string, data: unknown, user: string | undefined) => unknown;
  /** Rooms that may be joined; all unless told otherwise. */
  readonly allows?: (room: string) => boolean;
  /** The most bytes of a command: a longer one ends its connection with 1009. As long as they like unless told otherwise. */
  readonly maxMessageBytes?: number;
  /** The name of its transport; `websocket` unless told otherwise. */
  readonly name?: string;
  readonly clock?: Clock;
}

/** What a token is good for. */
export interface Accepted {
  readonly expiresAt?: number;
  readonly user?: string;
}
