// What can go wrong, as one type with a code.
//
// Always holds: a program decides by `code`; `message` is for people, and may change.

/** What a server says (docs/PROTOCOL.md, "Error codes"). */
export type ServerErrorCode =
  | 'bad_request'
  | 'unknown_command'
  | 'bad_room'
  | 'forbidden'
  | 'unauthorized'
  | 'not_subscribed'
  | 'already_subscribed'
  | 'removed'
  | 'limit_exceeded'
  | 'rate_limited'
  | 'conflict'
  | 'bad_position'
  | 'not_available'
  | 'unavailable'
  | 'unknown'
  | 'deadline'
  | 'failed';

/**
 * What this package says itself:
 * - `closed`: the server sent the connection away, or the client was closed; `closeCode` is the server's.
 * - `lost`: there is no connection, and the call did not want to wait; or it ended before an answer came that matters no more.
 * - `aborted`: the call's signal said so.
 * - `queue_full`: too much waits for a connection already.
 * - `incomplete`: events are missing, and the subscription has no `load` to make up for them.
 * - `too_slow`: a `for await` loop left too many events waiting.
 */
export type LocalErrorCode = 'closed' | 'lost' | 'aborted' | 'queue_full' | 'incomplete' | 'too_slow';

/** What went wrong: what a program decides by. */
export type ErrorCode = ServerErrorCode | LocalErrorCode;

/** What more an error knows. */
export interface ErrorDetails {
  /** The room that it is about. */
  readonly room?: string | undefined;
  /** The code with which a connection was closed. */
  readonly closeCode?: number | undefined;
  /** What led to it. */
  readonly cause?: unknown;
}

/** What every promise of this package rejects with. `message` is for people, and may change. */
export class RoomcastError extends Error {
  override readonly name = 'RoomcastError';
  // Declared, and not made: what is not there is `undefined` as well, and a page loads less.
  declare readonly code: ErrorCode;
  declare readonly room: string | undefined;
  declare readonly closeCode: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details);
    Object.assign(this, details, { code });
  }
}
