// Hooks for React 18 and newer. Safe in StrictMode and on a server, where nothing is joined.
//
// A room is joined when a component is mounted and left when the last one is gone. Options may change with each render: the newest
// `event` and `load` are called, and only another client or room joins anew.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';

import type { AnyTopics, Client, ClientState, EventOf, LoadContext, RoomName, SubscribeOptions } from './index.js';
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
export const useClientState = <Rooms extends object>(client: Client<Rooms>): ClientState =>
  useSource(useMemo(() => ofClient(client), [client]));

/** Follows a room: its state, and its events by `event`. */
export function useRoom<Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options: Pick<SubscribeOptions<Rooms[Name]>, 'event' | 'load'> = {},
): FollowedState {
  const newest = useRef(options);
  useEffect(() => {
    newest.current = options;
  });
  const loads = options.load !== undefined;
  const source = useMemo(
    () =>
      ofRoom(client, room, {
        event: (event: EventOf<Rooms[Name]>) => newest.current.event?.(event),
        load: loads ? (context: LoadContext) => newest.current.load?.(context) : undefined,
      }),
    [client, room, loads],
  );
  return useSource(source);
}

/** The newest event of each key of a room. Options count when the room is joined. */
export function useMap<Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: MapOptions<Rooms[Name]>,
): ReadonlyMap<string, EventOf<Rooms[Name]>> {
  const newest = useRef(options);
  newest.current = options;
  return useSource(useMemo(() => ofMap(client, room, newest.current), [client, room]));
}

/** Who is in a room. */
export const usePresence = <Rooms extends object>(client: Client<Rooms>, room: RoomName<Rooms>): PresenceSnapshot =>
  useSource(useMemo(() => ofPresence(client, room), [client, room]));

/** What the others in a room show, and how to show something to them. */
export const useSignals = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): FollowedSignals<Topics> => useSource(useMemo(() => ofSignals<Rooms, Topics>(client, room), [client, room]));

/** What the user has not read, with the events of these rooms, and how to say that it has. */
export function useUnread<Rooms extends object>(
  client: Client<Rooms>,
  ...rooms: readonly RoomName<Rooms>[]
): FollowedUnread<Rooms> {
  // The same rooms in another array are the same.
  const names = rooms.join('\n');
  const source = useMemo(
    () => ofUnread(client, (names ? names.split('\n') : []) as RoomName<Rooms>[]),
    [client, names],
  );
  return useSource(source);
}

function useSource<Value>(source: Source<Value>): Value {
  const held = useRef({ source, value: source.initial });
  if (held.current.source !== source) held.current = { source, value: source.initial };
  const follow = useCallback(
    (changed: () => void) =>
      source.open((value) => {
        held.current = { source, value };
        changed();
      }),
    [source],
  );
  return useSyncExternalStore(
    follow,
    () => held.current.value,
    () => source.initial,
  );
}
