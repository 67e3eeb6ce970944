// Composables for Vue 3.3 and newer. What they follow begins when the component is mounted, so that nothing is joined on a server, or at once
// in a scope that is none of a component's; it ends with the scope that they are called in.

import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowReadonly, shallowRef } from 'vue';

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

/** A reference that is replaced when its value changes. */
export type Followed<Value> = Readonly<ShallowRef<Value>>;

/** What the client does. */
export const useClientState = <Rooms extends object>(client: Client<Rooms>): Followed<ClientState> =>
  refOf(ofClient(client));

/** Follows a room: its state, and its events by `event`. */
export const useRoom = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: SubscribeOptions<Rooms[Name]>,
): Followed<FollowedState> => refOf(ofRoom(client, room, options));

/** The newest event of each key of a room. */
export const useMap = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: MapOptions<Rooms[Name]>,
): Followed<ReadonlyMap<string, EventOf<Rooms[Name]>>> => refOf(ofMap(client, room, options));

/** Who is in a room. */
export const usePresence = <Rooms extends object>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Followed<PresenceSnapshot> => refOf(ofPresence(client, room));

/** What the others in a room show, and how to show something to them. */
export const useSignals = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Followed<FollowedSignals<Topics>> => refOf(ofSignals<Rooms, Topics>(client, room));

/** What the user has not read, with the events of these rooms, and how to say that it has. */
export const useUnread = <Rooms extends object>(
  client: Client<Rooms>,
  ...rooms: readonly RoomName<Rooms>[]
): Followed<FollowedUnread<Rooms>> => refOf(ofUnread(client, rooms));

function refOf<Value>(source: Source<Value>): Followed<Value> {
  const ref = shallowRef(source.initial) as ShallowRef<Value>;
  let isOver = false;
  let close = () => {};
  const open = () => {
    if (isOver) return;
    close = source.open((value) => {
      ref.value = value;
    });
  };
  onScopeDispose(() => {
    isOver = true;
    close();
  });
  // On a server nothing is mounted, and nothing is told that it is over.
  if (getCurrentInstance()) onMounted(open);
  else open();
  return shallowReadonly(ref);
}
