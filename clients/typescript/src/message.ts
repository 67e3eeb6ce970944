// The messages of `roomcast.v1` (docs/PROTOCOL.md), as far as this client reads and writes them.
//
// Always holds: bytes are base64 only here and on the wire.

import type { Position, RoomEvent, WireEvent } from './event.js';
import { platform } from './platform.js';

/** What a client says. */
export interface Command {
  readonly type: string;
  readonly id?: number | undefined;
  readonly [field: string]: unknown;
}

/** A connection of a room's presence. */
export interface Member {
  readonly connection: string;
  /** Absent where the connection has no token. */
  readonly user?: string;
}

/** How far the user of a connection has read in a room, and where the room's log ends. */
export interface ReadRoom extends Position {
  readonly room: string;
  readonly end: number;
}

/** How far another user has read, or got, what the user of a connection wrote in a room. */
export interface Receipt extends Position {
  readonly room: string;
  readonly user: string;
}

/** What a server takes of a connection. */
export interface Limits {
  /** Bytes of one command. */
  readonly max_message_bytes?: number;
}

/** What a server says; which fields are there follows from `type`. */
export interface Message {
  readonly type: string;
  readonly id?: number | undefined;
  readonly room?: string | undefined;
  readonly epoch?: string | undefined;
  readonly after?: number | undefined;
  readonly offset?: number | undefined;
  readonly recovered?: boolean | undefined;
  readonly retained?: boolean | undefined;
  readonly events?: readonly WireEvent[] | undefined;
  readonly complete?: boolean | undefined;
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly members?: readonly Member[] | undefined;
  readonly total?: number | undefined;
  readonly connection?: string | undefined;
  readonly ping_interval?: number | undefined;
  readonly limits?: Limits | undefined;
  readonly expires_at?: number | undefined;
  readonly after_ms?: number | undefined;
  readonly topic?: string | undefined;
  readonly user?: string | undefined;
  readonly data?: unknown;
  readonly data64?: string | undefined;
  readonly ttl?: number | undefined;
  readonly time?: number | undefined;
  readonly rooms?: readonly ReadRoom[] | undefined;
  readonly receipts?: readonly Receipt[] | undefined;
  readonly delivered?: readonly Receipt[] | undefined;
}

/** An event as applications get it. */
export function eventOf(event: WireEvent, retained: boolean): RoomEvent {
  const { data64, ...rest } = event;
  return { data: data64 === undefined ? undefined : bytesOf(data64), ...rest, retained };
}

/** The position that an answer names. */
export const positionOf = ({ epoch = '', offset = 0 }: Message): Position => ({ epoch, offset });

/** `data` as it travels: bytes in base64, everything else as JSON. */
export function payload(data: unknown): { data: unknown } | { data64: string } {
  if (!(data instanceof Uint8Array)) return { data: data ?? null };
  return { data64: platform.btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), '')) };
}

/** The bytes of a text in base64. */
export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(platform.atob(base64), (character) => character.charCodeAt(0));
}
