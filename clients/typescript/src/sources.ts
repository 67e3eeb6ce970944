// What adapters for frameworks are made of: values that change, each with a way to follow it.
//
// Knows no framework. Always holds: nothing is joined before a source is opened, and all of it is left when it is closed; a value is
// the same object until it changes.

import type {
  AnyRooms,
  AnyTopics,
  Client,
  ClientState,
  EventOf,
  RoomName,
  Subscription,
  SubscribeOptions,
} from './index.js';
import { type MapOptions, map } from './map.js';
import { type PresenceSnapshot, presence } from './presence.js';
import { type Signals, signals } from './signals.js';
import { type Unread, type UnreadSnapshot, unread } from './unread.js';

/** What a part of an application sees of a room. */
export type FollowedState = Subscription['state'];

/** A value that changes. */
export interface Source<Value> {
  /** The value before it is opened. */
  readonly initial: Value;
  /** Follows it: `tell` is called with the value now, and with each later one. What it answers ends that. */
  open(tell: (value: Value) => void): () => void;
}

/** What the client does. */
export const ofClient = <Rooms extends object>(client: Client<Rooms>): Source<ClientState> => ({
  initial: client.state,
  open(tell) {
    tell(client.state);
    return client.onState(tell);
  },
});

/** The state of a room that is followed; its events go to the options' `event`. */
export const ofRoom = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options: SubscribeOptions<Rooms[Name]> = {},
): Source<FollowedState> => ({
  initial: 'away',
  open(tell) {
    const subscription = client.subscribe(room, options);
    const stop = subscription.onChange(tell);
    tell(subscription.state);
    return () => {
      stop();
      subscription.unsubscribe();
    };
  },
});

/** The newest event of each key of a room. */
export const ofMap = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: MapOptions<Rooms[Name]>,
): Source<ReadonlyMap<string, EventOf<Rooms[Name]>>> =>
  snapshots<ReadonlyMap<string, EventOf<Rooms[Name]>>>(new Map(), () => map(client, room, options));

/** Who is in a room. */
export const ofPresence = <Rooms extends object>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Source<PresenceSnapshot> =>
  snapshots<PresenceSnapshot>({ members: new Map(), total: 0, isComplete: false }, () => presence(client, room));

/** What the others in a room show, and how to show something to them. */
export interface FollowedSignals<Topics extends object = AnyTopics> extends Pick<Signals<Topics>, 'send' | 'stop'> {
  /** The oldest first. */
  readonly shown: Signals<Topics>['snapshot'];
}

/** What the user has not read, and how to say that it has. */
export interface FollowedUnread<Rooms extends object = AnyRooms> extends UnreadSnapshot, Pick<Unread<Rooms>, 'read'> {}

/** What the others in a room show. Before it is opened, nothing is shown to them. */
export const ofSignals = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Source<FollowedSignals<Topics>> =>
  followed(
    { shown: [], send() {}, stop() {} },
    () => signals<Rooms, Topics>(client, room),
    ({ snapshot, send, stop }) => ({ shown: snapshot, send, stop }),
  );

/** What the user has not read. Before it is opened, nothing is said of what the user reads. */
export const ofUnread = <Rooms extends object>(
  client: Client<Rooms>,
  rooms: readonly RoomName<Rooms>[],
): Source<FollowedUnread<Rooms>> =>
  followed(
    { rooms: new Map(), total: 0, read() {} },
    () => unread(client, ...rooms),
    ({ snapshot, read }) => ({ ...snapshot, read }),
  );

interface Collection {
  onChange(listener: () => void): () => void;
  close(): void;
}

const snapshots = <Value>(initial: Value, begin: () => Collection & { readonly snapshot: Value }): Source<Value> =>
  followed(initial, begin, ({ snapshot }) => snapshot);

function followed<Value, Of extends Collection>(
  initial: Value,
  begin: () => Of,
  shown: (collection: Of) => Value,
): Source<Value> {
  return {
    initial,
    open(tell) {
      const collection = begin();
      const stop = collection.onChange(() => tell(shown(collection)));
      tell(shown(collection));
      return () => {
        stop();
        collection.close();
      };
    },
  };
}
