// The connection of the signed-in user: one client for all that the application follows.
//
// The client comes back by itself, moves to another pod when its own is gone, falls back to long-polls where there is no WebSocket, and
// keeps what is sent meanwhile. Always holds: it lives as long as the session.

import { DestroyRef, Injectable, inject } from '@angular/core';
import {
  Client,
  type ClientState,
  type EventOf,
  type Position,
  type RoomName,
  type SubscribeOptions,
  type Subscription,
  type TopicName,
} from 'roomcast';
import { clientState } from 'roomcast/angular';
import { commands, type PublishOptions } from 'roomcast/commands';
import { clientState$, events$ } from 'roomcast/rxjs';
import { filter, type Observable } from 'rxjs';

import type { SocialRooms } from '../rooms';
import { SessionService } from './session.service';

type Room = RoomName<SocialRooms>;
type EventsOf<Name extends Room, Topic> = Extract<EventOf<SocialRooms[Name]>, { readonly topic: Topic }>;

@Injectable()
export class WebsocketService {
  readonly #session = inject(SessionService);
  readonly client = new Client<SocialRooms>({
    url: this.#session.opened.pods,
    token: () => this.#session.nextToken(),
  });
  readonly state = clientState(this.client);
  readonly state$: Observable<ClientState> = clientState$(this.client);
  readonly #commands = commands(this.client);
  readonly #subscriptions = new Map<Room, { unsubscribe(): void }>();

  constructor() {
    inject(DestroyRef).onDestroy(() => this.disconnect());
  }

  connect(): void {
    this.client.connect();
  }

  /** Ends the connection and all that is followed over it. */
  disconnect(): void {
    this.client.close();
  }

  /** Follows a room, once for all of the application. */
  subscribe<Name extends Room>(
    room: Name,
    options: SubscribeOptions<SocialRooms[Name]> = {},
  ): Subscription<SocialRooms[Name]> {
    this.unsubscribe(room);
    const subscription = this.client.subscribe(room, options);
    this.#subscriptions.set(room, subscription);
    return subscription;
  }

  unsubscribe(room: Room): void {
    this.#subscriptions.get(room)?.unsubscribe();
    this.#subscriptions.delete(room);
  }

  /** Publishes an event. Without a connection it waits; sent twice, it is one event. */
  send<Name extends Room, Topic extends TopicName<SocialRooms[Name]>>(
    room: Name,
    topic: Topic,
    data: SocialRooms[Name][Topic],
    options?: PublishOptions,
  ): Promise<Position> {
    return this.#commands.publish(room, topic, data, options);
  }

  /** News of one kind. What was missed is the concern of those that keep a state, with `load`. */
  on<Name extends Room, Topic extends TopicName<SocialRooms[Name]>>(
    room: Name,
    topic: Topic,
  ): Observable<EventsOf<Name, Topic>> {
    const isWanted = (event: EventOf<SocialRooms[Name]>): event is EventsOf<Name, Topic> => event.topic === topic;
    return events$(this.client, room, { load: () => undefined }).pipe(filter(isWanted));
  }

  /** The newest events of a room, and where they end. */
  history<Name extends Room>(room: Name, limit: number, since?: Position) {
    return this.#commands.history(room, { limit, since });
  }

  /** How the user wants to be seen. */
  async show(status: string): Promise<void> {
    await this.#commands.request({ type: 'status', status });
  }
}
