// Who is in a room, kept up to date: asked for after each join, changed by what the server tells.
//
// Always holds: a list that is not the server's whole list is not shown as one. In a room of more than 200 members the server only says
// how many there are: then `members` is empty and `isComplete` is false.

import { RoomcastError } from './error.js';
import type { AnyRooms, Client, Member, Message, RoomName, ServerErrorCode } from './index.js';
import { PASSING } from './room.js';

/** Who is in a room at one moment. */
export interface PresenceSnapshot {
  /** By connection. A user with two devices is there twice. */
  readonly members: ReadonlyMap<string, Member>;
  /** How many there are. */
  readonly total: number;
  /** Whether `members` are all of them. */
  readonly isComplete: boolean;
}

/** Who is in a room. */
export interface Presence extends PresenceSnapshot {
  /** A copy that does not change, the same one until something changes. */
  readonly snapshot: PresenceSnapshot;
  /** The users among the members, each once. */
  readonly users: ReadonlySet<string>;
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (presence: Presence) => void): () => void;
  /** Ends it. */
  close(): void;
}

const TYPES = ['presence', 'joined', 'left'];
/** Before a question is asked again that was refused for now, in milliseconds. */
const PAUSE = 1_000;

/** Follows who is in a room, which joins it. The room's policy has to track presence. */
export function presence<Rooms extends object = AnyRooms>(client: Client<Rooms>, room: RoomName<Rooms>): Presence {
  let members = new Map<string, Member>();
  let total = 0;
  let isComplete = false;
  /** What came while a list was on its way, and may be newer than it. */
  let early: Message[] | undefined;
  let asked = 0;
  let snapshot: PresenceSnapshot | undefined;
  const listeners = new Set<(presence: Presence) => void>();

  const apply = ({ type, members: told, total: count = total }: Message) => {
    total = count;
    if (type === 'presence') {
      members = new Map();
      isComplete = told !== undefined && told.length === count;
    }
    // Only a number: a list that was kept is no good from now on.
    if (!told) members = new Map();
    if (!told) isComplete = false;
    for (const member of told ?? []) {
      if (type === 'left') members.delete(member.connection);
      else if (type === 'presence' || isComplete) members.set(member.connection, member);
    }
  };
  const tell = () => {
    snapshot = undefined;
    for (const listener of [...listeners]) {
      try {
        listener(self);
      } catch (error) {
        client.report(error);
      }
    }
  };
  const subscription = client.subscribe(room);
  const ask = () => {
    const mine = ++asked;
    early = [];
    client.ask({ type: 'presence', room }, (answer) => {
      // Without one it is asked for again when the room is joined again.
      if (!answer || mine !== asked) return;
      const { type, code = '', message = '' } = answer;
      if (PASSING.includes(code))
        return void client.clock.after(PAUSE, () => mine === asked && subscription.state === 'joined' && ask());
      if (type === 'error') client.report(new RoomcastError(code as ServerErrorCode, message, { room }));
      else apply(answer);
      for (const message of early ?? []) apply(message);
      early = undefined;
      tell();
    });
  };
  const stops = [
    subscription.onMessage((message) => {
      // Of a room come others too: signals.
      if (!TYPES.includes(message.type)) return;
      if (early && message.type !== 'presence') early.push(message);
      apply(message);
      tell();
    }),
    subscription.onChange((state) => {
      if (state === 'joined') ask();
    }),
  ];
  if (subscription.state === 'joined') ask();

  const self: Presence = {
    get members() {
      return members;
    },
    get total() {
      return total;
    },
    get isComplete() {
      return isComplete;
    },
    get snapshot() {
      snapshot ??= { members: new Map(members), total, isComplete };
      return snapshot;
    },
    get users() {
      return new Set([...members.values()].flatMap(({ user }) => user ?? []));
    },
    onChange(listener) {
      const entry = (presence: Presence) => listener(presence);
      listeners.add(entry);
      return () => void listeners.delete(entry);
    },
    close() {
      asked += 1;
      for (const stop of stops) stop();
      listeners.clear();
      subscription.unsubscribe();
    },
  };
  return self;
}
