// Observables for RxJS 7. Each subscription of one follows the room by itself; all share the client's one place in it.

import { Observable } from 'rxjs';

import type { AnyTopics, Client, ClientState, EventOf, RoomName, SubscribeOptions } from './index.js';
import type { MapOptions } from './map.js';
import type { PresenceSnapshot } from './presence.js';
import {
  type FollowedSignals,
  type FollowedUnread,
  ofClient,
  ofMap,
  ofPresence,
  ofSignals,
  ofUnread,
  type Source,
} from './sources.js';

export type { FollowedSignals, FollowedUnread } from './sources.js';

/** What the client does. */
export const clientState$ = <Rooms extends object>(client: Client<Rooms>): Observable<ClientState> =>
  observableOf(ofClient(client));

/** The events of a room. It fails where the room is refused, where the client is closed, and where events are missing and there is no `load`. */
export const events$ = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: SubscribeOptions<Rooms[Name]>,
): Observable<EventOf<Rooms[Name]>> =>
  new Observable((observer) => {
    const subscription = client.subscribe(room, options);
    subscription.onEvent((event) => observer.next(event));
    subscription.onError((error) => observer.error(error));
    const look = () => {
      if (subscription.state === 'ended') observer.complete();
      // Nothing comes of a client that is closed.
      else if (subscription.error) observer.error(subscription.error);
    };
    subscription.onChange(look);
    look();
    return () => subscription.unsubscribe();
  });

/** The newest event of each key of a room. */
export const map$ = <Rooms extends object, Name extends RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  options?: MapOptions<Rooms[Name]>,
): Observable<ReadonlyMap<string, EventOf<Rooms[Name]>>> => observableOf(ofMap(client, room, options));

/** Who is in a room. */
export const presence$ = <Rooms extends object>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Observable<PresenceSnapshot> => observableOf(ofPresence(client, room));

/** What the others in a room show, and how to show something to them. */
export const signals$ = <Rooms extends object, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
): Observable<FollowedSignals<Topics>> => observableOf(ofSignals<Rooms, Topics>(client, room));

/** What the user has not read, with the events of these rooms, and how to say that it has. */
export const unread$ = <Rooms extends object>(
  client: Client<Rooms>,
  ...rooms: readonly RoomName<Rooms>[]
): Observable<FollowedUnread<Rooms>> => observableOf(ofUnread(client, rooms));

function observableOf<Value>(source: Source<Value>): Observable<Value> {
  return new Observable((observer) => source.open((value) => observer.next(value)));
}
