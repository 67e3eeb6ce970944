// Stores for Svelte, by its contract: `$fleet` in a component, `fromStore(fleet)` for runes. A room is joined with the first subscriber
// of a store, and left with the last one.

import type { AnyTopics, Client, ClientState, EventOf, RoomName, SubscribeOptions } from './index.js';
import type { MapOptions } from './map.js';
import type { PresenceSnapshot } from './presence.js';
import {
  type FollowedSignals,
  type FollowedState,
  type FollowedUnread,
  ofClient,
  ofMap,
  ofPresence,
  ofRoom,
  ofSignals,
  ofUnread,
  type Source,
} from './sources.js';

export type { FollowedSignals, FollowedState, FollowedUnread } from './sources.js';

/** Svelte's contract of a store that is only read. */
export interface Store<Value> {
  subscribe(this: void, run: (value: Value) => void): () => void;
}

/** What the client does. */
export const clientState = <Rooms extends object>(client: Client<Rooms>): Store<ClientState> =>
  storeOf(ofClient(client));

/** Follows a room: its state, and its events by `event`. */
export const room = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  name: Name,
  options?: SubscribeOptions<Rooms[Name]>,
): Store<FollowedState> => storeOf(ofRoom(client, name, options));

/** The newest event of each key of a room. */
export const map = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  name: Name,
  options?: MapOptions<Rooms[Name]>,
): Store<ReadonlyMap<string, EventOf<Rooms[Name]>>> => storeOf(ofMap(client, name, options));

/** Who is in a room. */
export const presence = <Rooms extends object>(client: Client<Rooms>, name: RoomName<Rooms>): Store<PresenceSnapshot> =>
  storeOf(ofPresence(client, name));

/** What the others in a room show, and how to show something to them. */
export const signals = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  name: RoomName<Rooms>,
): Store<FollowedSignals<Topics>> => storeOf(ofSignals<Rooms, Topics>(client, name));

/** What the user has not read, with the events of these rooms, and how to say that it has. */
export const unread = <Rooms extends object>(
  client: Client<Rooms>,
  ...rooms: readonly RoomName<Rooms>[]
): Store<FollowedUnread<Rooms>> => storeOf(ofUnread(client, rooms));

function storeOf<Value>(source: Source<Value>): Store<Value> {
  const runs = new Set<{ run: (value: Value) => void }>();
  let value = source.initial;
  let close = () => {};
  return {
    subscribe(run) {
      const entry = { run };
      const isFirst = runs.size === 0;
      if (isFirst) {
        close = source.open((next) => {
          value = next;
          for (const { run } of [...runs]) run(value);
        });
      }
      runs.add(entry);
      run(value);
      return () => {
        if (runs.delete(entry) && runs.size === 0) close();
      };
    },
  };
}
