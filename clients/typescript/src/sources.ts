// What adapters for frameworks are made of: values that change, each with a way to follow it.
//
// Knows no framework. Always holds: nothing is joined before a source is opened, and all of it is left when it is closed; a value is
// the same object until it changes.

import type { Client, ClientState, EventOf, RoomName, Subscription, SubscribeOptions } from './index.js';
import { type MapOptions, map } from './map.js';
import { type PresenceSnapshot, presence } from './presence.js';

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

interface Collection<Value> {
  readonly snapshot: Value;
  onChange(listener: () => void): () => void;
  close(): void;
}

function snapshots<Value>(initial: Value, begin: () => Collection<Value>): Source<Value> {
  return {
    initial,
    open(tell) {
      const collection = begin();
      const stop = collection.onChange(() => tell(collection.snapshot));
      tell(collection.snapshot);
      return () => {
        stop();
        collection.close();
      };
    },
  };
}
