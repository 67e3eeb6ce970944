// Signals for Angular 17 and newer, with or without zones. To be called where Angular injects: what they follow ends with the component
// or service that they are called in.

import { DestroyRef, inject, type Signal, signal } from '@angular/core';

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

/** What the client does. */
export const clientState = <Rooms extends object>(client: Client<Rooms>): Signal<ClientState> =>
  signalOf(ofClient(client));

/** Follows a room: its state, and its events by `event`. */
export const room = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  name: Name,
  options?: SubscribeOptions<Rooms[Name]>,
): Signal<FollowedState> => signalOf(ofRoom(client, name, options));

/** The newest event of each key of a room. */
export const map = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  name: Name,
  options?: MapOptions<Rooms[Name]>,
): Signal<ReadonlyMap<string, EventOf<Rooms[Name]>>> => signalOf(ofMap(client, name, options));

/** Who is in a room. */
export const presence = <Rooms extends object>(
  client: Client<Rooms>,
  name: RoomName<Rooms>,
): Signal<PresenceSnapshot> => signalOf(ofPresence(client, name));

/** What the others in a room show, and how to show something to them. */
export const signals = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  name: RoomName<Rooms>,
): Signal<FollowedSignals<Topics>> => signalOf(ofSignals<Rooms, Topics>(client, name));

/** What the user has not read, with the events of these rooms, and how to say that it has. */
export const unread = <Rooms extends object>(
  client: Client<Rooms>,
  ...rooms: readonly RoomName<Rooms>[]
): Signal<FollowedUnread<Rooms>> => signalOf(ofUnread(client, rooms));

function signalOf<Value>(source: Source<Value>): Signal<Value> {
  const value = signal(source.initial);
  inject(DestroyRef).onDestroy(source.open((next) => value.set(next)));
  return value.asReadonly();
}
