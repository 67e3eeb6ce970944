// Which users have read what this client's user wrote: by receipts, that the server sends to the author alone.
//
// Nothing is asked for and nothing can be: what was told while the connection was away is unknown until the next receipt of the same
// reader, which goes further. Always holds: of one reader's positions in a room the highest counts.

import type { AnyRooms, Client, Position, RoomName } from './index.js';
import { listeners } from './listeners.js';

/** How far each reader has read what the user wrote, by room and reader. */
export type ReceiptsSnapshot = ReadonlyMap<string, ReadonlyMap<string, Position>>;

/** Which users have read what this client's user wrote. */
export interface Receipts<Rooms extends object = AnyRooms> {
  /** A copy that does not change, the same one until something changes. */
  readonly snapshot: ReceiptsSnapshot;
  /** The users that have read the user's event at this position, and so all before it. */
  readersOf(room: RoomName<Rooms>, event: Position): readonly string[];
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (receipts: Receipts<Rooms>) => void): () => void;
  /** Ends it. */
  close(): void;
}

/** The most rooms, and readers of a room, that are known of; the oldest is forgotten. */
const MOST = 1_000;

/** Follows the receipts for what the client's user writes, in all rooms whose policy has them. */
export function receipts<Rooms extends object = AnyRooms>(client: Client<Rooms>): Receipts<Rooms> {
  const rooms = new Map<string, Map<string, Position>>();
  const { add, tell } = listeners<{ change: Receipts<Rooms> }>(client.report);
  let snapshot: ReceiptsSnapshot | undefined;

  const put = <Value>(all: Map<string, Value>, key: string, value: Value) => {
    // The last one is the newest.
    all.delete(key);
    all.set(key, value);
    if (all.size > MOST) all.delete(all.keys().next().value ?? '');
  };
  const stop = client.onMessage(({ receipts = [] }) => {
    for (const { room, user, epoch, offset } of receipts) {
      const readers = rooms.get(room) ?? new Map<string, Position>();
      const before = readers.get(user);
      if (before?.epoch === epoch && before.offset > offset) continue;
      put(readers, user, { epoch, offset });
      put(rooms, room, readers);
    }
    if (!receipts[0]) return;
    snapshot = undefined;
    tell('change', self);
  });

  const self: Receipts<Rooms> = {
    get snapshot() {
      snapshot ??= new Map([...rooms].map(([room, readers]) => [room, new Map(readers)]));
      return snapshot;
    },
    readersOf: (room, { epoch, offset }) =>
      [...(rooms.get(room) ?? [])].flatMap(([user, read]) =>
        read.epoch === epoch && read.offset >= offset ? user : [],
      ),
    onChange: (listener) => add('change', listener),
    close: stop,
  };
  return self;
}
