// What the user has not read, in all of its rooms and over all of its devices, as numbers that keep themselves up to date.
//
// The server counts; this adds what comes to the rooms that it follows, and takes off what the user reads here, before the server
// says so. Always holds: of two positions in one log the highest counts, and what the server says of another log replaces what was known.

import { RoomcastError } from './error.js';
import type { AnyRooms, Client, Position, ReadRoom, RoomName, ServerErrorCode, Subscription } from './index.js';
import { listeners } from './listeners.js';
import { PASSING } from './room.js';

/** What a user has not read in a room. */
export interface UnreadRoom {
  /** The last event that was read. */
  readonly position: Position;
  readonly unread: number;
}

/** What a user has not read at one moment. */
export interface UnreadSnapshot {
  /** By room: those that are followed, and all in which the user has read anything. */
  readonly rooms: ReadonlyMap<string, UnreadRoom>;
  /** Over all rooms. */
  readonly total: number;
}

/** What a user has not read. */
export interface Unread<Rooms extends object = AnyRooms> {
  /** A copy that does not change, the same one until something changes. */
  readonly snapshot: UnreadSnapshot;
  /** Counts what comes to these rooms from now on, which joins them. */
  follow(...rooms: readonly RoomName<Rooms>[]): void;
  /** The user has read up to there: without a position, all that has come to a room that is followed, or has when it is joined. */
  read(room: RoomName<Rooms>, position?: Position): void;
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (unread: Unread<Rooms>) => void): () => void;
  /** Ends it. */
  close(): void;
}

/** The shortest time between two messages to the server that say how far a user has read, in milliseconds. */
const EVERY = 500;
/** So many rooms at once are all that the server tells of unasked. */
const MOST_TOLD = 100;
/** So many rooms may be named in a question. */
const MOST_NAMED = 1_024;

/** Counts what the client's user has not read, in rooms whose policy keeps it; follows the rooms that are named. */
export function unread<Rooms extends object = AnyRooms>(
  client: Client<Rooms>,
  ...first: readonly RoomName<Rooms>[]
): Unread<Rooms> {
  const known = new Map<string, ReadRoom>();
  const followed = new Map<string, Pick<Subscription, 'state' | 'position' | 'joined' | 'unsubscribe'>>();
  /** How far the user has read here, so that it is said again after a reconnect; another user's is another one. */
  let read = new Map<string, Position>();
  /** The rooms in which this was not said yet. */
  let due = new Set<string>();
  /** The rooms of which the server does not count anything. */
  const uncounted = new Set<string>();
  /** The logs of which the server was asked because they are new. */
  const askedFor = new Map<string, string>();
  const { add, tell } = listeners<{ change: Unread<Rooms> }>(client.report);
  let snapshot: UnreadSnapshot | undefined;
  let asking: 'no' | 'once' | 'again' = 'no';
  let endPause: (() => void) | undefined;
  let isOver = false;

  const changed = () => {
    snapshot = undefined;
    tell('change', self);
  };
  const fail = (code: string | undefined, message = '', room?: string) =>
    client.report(new RoomcastError(code as ServerErrorCode, message, { room }));
  const put = ({ room, epoch, offset, end }: ReadRoom) => {
    const before = known.get(room);
    const isSame = before?.epoch === epoch;
    const max = (one: number, other = 0) => (isSame ? Math.max(one, other) : one);
    known.set(room, { room, epoch, offset: max(offset, before?.offset), end: max(end, before?.end) });
  };
  /** Takes the events that have come into account. */
  const count = (room: string) => {
    const position = followed.get(room)?.position;
    const before = known.get(room);
    if (!position || !before) return;
    if (before.epoch === position.epoch) {
      if (before.end >= position.offset) return;
      put({ ...before, end: position.offset });
      changed();
    } else if (askedFor.get(room) !== position.epoch) {
      askedFor.set(room, position.epoch);
      ask();
    }
  };
  const ask = () => {
    if (asking !== 'no') {
      asking = 'again';
      return;
    }
    const rooms = [...followed].flatMap(([room, { state }]) =>
      state === 'joined' && !uncounted.has(room) ? room : [],
    );
    const isSent = client.ask({ type: 'unread', rooms: rooms.slice(0, MOST_NAMED) }, (answer) => {
      const isAgain = asking === 'again';
      asking = 'no';
      // Without one it is asked for again when there is a connection again.
      if (!answer) return;
      const { type, code = '', message, room = '', rooms: told = [] } = answer;
      if (type !== 'error') {
        // A room that is being joined again is counted as before until it is.
        for (const name of known.keys())
          if (!followed.has(name) && !told.some(({ room }) => room === name)) known.delete(name);
        for (const one of told) put(one);
        for (const name of followed.keys()) count(name);
        changed();
      } else if (PASSING.includes(code)) return void client.clock.after(2 * EVERY, () => isOver || ask());
      else {
        fail(code, message, room);
        // The others are counted all the same.
        if (rooms.includes(room)) {
          uncounted.add(room);
          known.delete(room);
          ask();
        }
      }
      if (isAgain) ask();
    });
    if (isSent) asking = 'once';
  };
  const resume = () => {
    endPause?.();
    endPause = undefined;
  };
  const rest = (ms: number) => {
    resume();
    endPause = client.clock.after(ms, () => {
      resume();
      flush();
    });
  };
  const flush = () => {
    if (endPause || !due.size || client.state.kind !== 'open') return;
    rest(EVERY);
    const rooms = due;
    due = new Set();
    for (const room of rooms) {
      const isSent = client.ask({ type: 'ack', room, ...read.get(room) }, (answer) => {
        const { type, code = '', message } = answer ?? {};
        if (type !== 'error') return;
        if (PASSING.includes(code)) {
          due.add(room);
          if (!isOver) rest(2 * EVERY);
        } else {
          // The log has another end than this client knew.
          read.delete(room);
          known.delete(room);
          if (code !== 'bad_position') fail(code, message, room);
          ask();
        }
      });
      if (!isSent) due.add(room);
    }
  };
  const begin = () => {
    due = new Set(read.keys());
    flush();
    ask();
  };
  const stops = [
    client.onMessage(({ type, rooms = [] }) => {
      if (type !== 'unread') return;
      for (const one of rooms) {
        put(one);
        count(one.room);
      }
      changed();
      if (rooms.length >= MOST_TOLD) ask();
    }),
    // Rooms are joined first.
    client.onState(({ kind }) => {
      if (kind === 'open') void Promise.resolve().then(begin);
      // Who comes back after that may be another user.
      if (kind === 'closed' || kind === 'idle') {
        read = new Map();
        due.clear();
      }
      if (kind !== 'idle') return;
      for (const all of [known, uncounted, askedFor]) all.clear();
      changed();
    }),
  ];

  const self: Unread<Rooms> = {
    get snapshot() {
      if (snapshot) return snapshot;
      const rooms = new Map<string, UnreadRoom>();
      let total = 0;
      for (const [room, { epoch, offset, end }] of known) {
        const unread = Math.max(end - offset, 0);
        rooms.set(room, { position: { epoch, offset }, unread });
        total += unread;
      }
      snapshot = { rooms, total };
      return snapshot;
    },
    follow(...rooms) {
      for (const room of rooms) {
        if (followed.has(room)) continue;
        const subscription = client.subscribe(room, { load: () => count(room), event: () => count(room) });
        followed.set(room, subscription);
        subscription.onChange((state) => {
          if (state === 'joined' && known.get(room)?.epoch !== subscription.position?.epoch) ask();
          if (state === 'refused' && known.delete(room)) changed();
        });
        if (subscription.state === 'joined') ask();
      }
    },
    read(room, position = followed.get(room)?.position) {
      const mine = read;
      // It is known how far that is when the room is joined; where it never is, nothing of it was read.
      if (!position)
        return void followed
          .get(room)
          ?.joined()
          .then(
            (at) => read === mine && self.read(room, at),
            () => {},
          );
      const { epoch, offset } = position;
      const before = read.get(room);
      if (uncounted.has(room) || (before?.epoch === epoch && before.offset >= offset)) return;
      read.set(room, position);
      due.add(room);
      const one = known.get(room) ?? { room, epoch, offset, end: offset };
      if (one.epoch === epoch) {
        put({ ...one, offset });
        changed();
      }
      flush();
    },
    onChange: (listener) => add('change', listener),
    close() {
      // What was read a moment ago is said now.
      resume();
      flush();
      resume();
      isOver = true;
      for (const stop of stops) stop();
      for (const subscription of followed.values()) subscription.unsubscribe();
    },
  };
  self.follow(...first);
  if (client.state.kind === 'open') begin();
  return self;
}
