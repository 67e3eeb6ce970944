// Which users have read, or at least got, what this client's user wrote: by receipts, that the server sends to the author alone; and
// what has come to this device, said to the authors.
//
// Nothing is asked for and nothing can be: what was told while the connection was away is unknown until the next receipt of the same
// reader, which goes further. Always holds: of one reader's positions in a room the highest counts; what has come to this device is said
// again over each connection, because nobody keeps it.

import type { AnyRooms, Client, Position, RoomName } from './index.js';
import { listeners } from './listeners.js';
import type { Receipt } from './message.js';
import { PASSING } from './room.js';

/** How far each reader has read what the user wrote, by room and reader. */
export type ReceiptsSnapshot = ReadonlyMap<string, ReadonlyMap<string, Position>>;

/** Which users have read, or got, what this client's user wrote. */
export interface Receipts<Rooms extends object = AnyRooms> {
  /** How far each reader has read: a copy that does not change, the same one until something changes. */
  readonly snapshot: ReceiptsSnapshot;
  /** The users that have read the user's event at this position, and so all before it. */
  readersOf(room: RoomName<Rooms>, event: Position): readonly string[];
  /** The users to one of whose devices the user's event at this position has come, and so all before it: whether or not they have read it. */
  deliveredTo(room: RoomName<Rooms>, event: Position): readonly string[];
  /** Says to the authors that their events have come to this device, up to this position. */
  deliver(room: RoomName<Rooms>, event: Position): void;
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (receipts: Receipts<Rooms>) => void): () => void;
  /** Ends it. */
  close(): void;
}

/** How far each user came, by room. */
type Reached = Map<string, Map<string, Position>>;

/** The most rooms, and users of a room, that are known of; the oldest is forgotten. */
const MOST = 1_000;
/** The shortest pause before more is said of what has come, in milliseconds; and the longest, while the server takes something not now. */
const EVERY = 500;
const LONGEST = 16 * EVERY;
/** Of so many rooms it is said at a time: a second's are what a connection may say by itself. */
const A_TURN = 25;

/** Follows the receipts for what the client's user writes, in all rooms whose policy has them. */
export function receipts<Rooms extends object = AnyRooms>(client: Client<Rooms>): Receipts<Rooms> {
  const read: Reached = new Map();
  const got: Reached = new Map();
  /** How far what has come to this device goes, by room. */
  const here = new Map<string, Position>();
  /** The rooms in which this was not said yet, those that wait longest first. */
  let due = new Set<string>();
  const { add, tell } = listeners<{ change: Receipts<Rooms> }>(client.report);
  let snapshot: ReceiptsSnapshot | undefined;
  let pause = EVERY;
  let endPause: (() => void) | undefined;

  const changed = () => {
    snapshot = undefined;
    tell('change', self);
  };
  const put = <Value>(all: Map<string, Value>, key: string, value: Value) => {
    // The last one is the newest.
    all.delete(key);
    all.set(key, value);
    if (all.size > MOST) all.delete(all.keys().next().value ?? '');
  };
  const isBehind = (one: Position | undefined, { epoch, offset }: Position) =>
    one?.epoch === epoch && one.offset > offset;
  const take = (rooms: Reached, told: readonly Receipt[] = []) => {
    for (const { room, user, epoch, offset } of told) {
      const users = rooms.get(room) ?? new Map<string, Position>();
      if (isBehind(users.get(user), { epoch, offset })) continue;
      put(users, user, { epoch, offset });
      put(rooms, room, users);
    }
  };
  const reach = (rooms: Reached, room: string, { epoch, offset }: Position) =>
    [...(rooms.get(room) ?? [])].flatMap(([user, to]) => (to.epoch === epoch && to.offset >= offset ? user : []));
  const rest = (ms: number) => {
    pause = ms;
    endPause?.();
    endPause = client.clock.after(ms, () => {
      endPause = undefined;
      flush();
    });
  };
  const flush = () => {
    if (endPause || !due.size || client.state.kind !== 'open') return;
    const longer = Math.min(2 * pause, LONGEST);
    rest(EVERY);
    let left = A_TURN;
    for (const room of due) {
      if (!left) break;
      due.delete(room);
      const at = here.get(room);
      // It was forgotten meanwhile.
      if (!at) continue;
      left -= 1;
      client.ask({ type: 'ack', room, ...at, delivered: true }, (answer) => {
        if (answer?.type !== 'error' || !here.has(room)) return;
        if (PASSING.includes(answer.code as string)) {
          due.add(room);
          // Once a turn, however many rooms were refused.
          if (pause < longer) rest(longer);
        }
        // The log has another end than this client knew, or the room is none of the user's any more.
        else here.delete(room);
      });
    }
  };
  const stops = [
    client.onMessage(({ type, receipts, delivered }) => {
      if (type !== 'receipts') return;
      take(read, receipts);
      take(got, delivered);
      changed();
    }),
    // Rooms are joined first.
    client.onState(({ kind }) => {
      // Who comes back after that may be another user.
      if (kind === 'closed' || kind === 'idle') here.clear();
      if (kind === 'idle') {
        read.clear();
        got.clear();
        changed();
      }
      if (kind !== 'open') return;
      due = new Set(here.keys());
      void Promise.resolve().then(flush);
    }),
  ];

  const self: Receipts<Rooms> = {
    get snapshot() {
      snapshot ??= new Map([...read].map(([room, readers]) => [room, new Map(readers)]));
      return snapshot;
    },
    readersOf: (room, event) => reach(read, room, event),
    deliveredTo: (room, event) => [...new Set([...reach(read, room, event), ...reach(got, room, event)])],
    deliver(room, { epoch, offset }) {
      const before = here.get(room);
      if (before?.epoch === epoch && before.offset >= offset) return;
      put(here, room, { epoch, offset });
      due.add(room);
      flush();
    },
    onChange: (listener) => add('change', listener),
    close() {
      here.clear();
      due.clear();
      endPause?.();
      for (const stop of stops) stop();
    },
  };
  return self;
}
