// A client: rooms and a token over one line to the server.
//
// Composes what the other files own; it knows no sockets, no timers and no close codes. Always holds: rooms are joined and left once for
// all that an application does in one go.

import { choice, endpointOf } from './choice.js';
import { type Clock, systemClock } from './clock.js';
import type { Answered } from './connection.js';
import { credentials, type Credentials, type TokenSource } from './credentials.js';
import type { RoomcastError } from './error.js';
import type { AnyRooms, Position, RoomName } from './event.js';
import { type Listener, type Listeners, listeners, reportToPlatform, type Report, safely } from './listeners.js';
import { type ClientNews, type ClientState, line, type Line } from './line.js';
import type { Command, Message } from './message.js';
import { type ClientOptions, named } from './options.js';
import { platform } from './platform.js';
import type { Attempt } from './race.js';
import { Room, type RoomState } from './room.js';
import { follow, type Home, type SubscribeOptions, type Subscription } from './subscription.js';

/** A room of a client. */
export interface RoomSummary {
  readonly name: string;
  readonly state: RoomState;
  readonly position: Position | undefined;
  readonly error: RoomcastError | undefined;
}

/** A client of a server, or of the nearest of several. Nothing is sent before something is subscribed to, asked for, or `connect` is called. */
export class Client<Rooms extends object = AnyRooms> {
  /** Tells `onError` of something: for what is built upon the client. */
  declare readonly report: Report;
  /** @internal */
  declare readonly clock: Clock;
  /** @internal What `commands` keeps of this client. */
  declare commands: { readonly waiting: number } | undefined;
  readonly #credentials: Credentials;
  readonly #line: Line;
  readonly #news: Listeners<ClientNews>;
  readonly #rooms = new Map<string, Room>();
  #settling = false;

  constructor(options: ClientOptions) {
    const { url, token, clock = systemClock, onError = reportToPlatform, storage, transports } = options;
    const { WebSocket = platform.WebSocket, fetch = platform.fetch } = options;
    const means = { WebSocket, fetch };
    const report = safely(onError);
    this.report = report;
    this.clock = clock;
    this.#credentials = credentials(token, clock);
    this.#news = listeners(report);
    const own = named(transports).filter((transport) => transport.isPossible(means));
    const endpoints = [url].flat().map((one) => endpointOf(one, platform.location?.origin));
    const remembers = () => (storage === undefined ? platform.localStorage : storage);
    this.#line = line(
      { clock, report, means, credentials: this.#credentials },
      choice(own, endpoints, remembers),
      this.#news,
      this.#rooms,
    );
  }

  get state(): ClientState {
    return this.#line.state;
  }

  /** The last attempts to connect, the oldest first. */
  get attempts(): readonly Attempt[] {
    return this.#line.attempts;
  }

  /** The rooms that it is in, or wants to be in: only to be looked at. */
  get rooms(): readonly RoomSummary[] {
    return [...this.#rooms.values()];
  }

  /** Tells a listener whenever `state` changes; what it answers takes the listener out again. */
  onState(listener: Listener<ClientState>): () => void {
    return this.#news.add('state', listener);
  }

  /** Tells a listener of rooms that the server joins unasked, like a user's own. Subscribe to get their events. */
  onRoom(listener: Listener<string>): () => void {
    return this.onMessage(({ type, room }) => type === 'subscribed' && listener(room as string));
  }

  /** Tells a listener of what the server says that is of no room which is followed: `unread`, `receipts`. */
  onMessage(listener: Listener<Message>): () => void {
    return this.#news.add('message', listener);
  }

  /** Connects, unless it does already. The first subscription or publish does so, too. */
  connect(): void {
    const { kind } = this.state;
    if (kind !== 'open' && kind !== 'connecting') this.#line.dial();
  }

  /** Ends the connection and every subscription. What waits is rejected. */
  close(): void {
    this.#line.end();
  }

  /**
   * The network, or the application, is back: connects at once instead of at the end of a pause, or asks whether the connection still is.
   * In a browser the client notices by itself; elsewhere an application may say so (React Native: `AppState`, `NetInfo`).
   */
  wake(): void {
    this.#line.wake();
  }

  /**
   * From now on it presents other tokens: after a login or a logout. It connects anew, and rooms that were refused are asked for again. What
   * waits to be sent is rejected: it was said by another user.
   */
  authenticate(token: TokenSource | undefined): void {
    this.#credentials.replace(token);
    for (const room of this.#rooms.values()) room.forgive();
    const { state } = this;
    if (state.kind === 'closed' ? state.error : state.kind !== 'idle') this.#line.dial(true);
  }

  /** Follows a room. All subscriptions of a room share one place in it; it is left when the last of them ends. */
  subscribe<Name extends RoomName<Rooms>>(
    name: Name,
    options: SubscribeOptions<Rooms[Name]> = {},
  ): Subscription<Rooms[Name]> {
    const room = this.#rooms.get(name) ?? new Room(name, this.#line);
    const subscription = follow<Rooms[Name]>(this as unknown as Home, room, options);
    if (subscription.state === 'ended') return subscription;
    this.#rooms.set(name, room);
    room.forgive();
    this.settle();
    if (this.state.kind === 'idle') this.connect();
    return subscription;
  }

  /** @internal Sends a command, if there is a connection that carries it. */
  ask(command: Command, answered: Answered): boolean {
    const { state } = this;
    return state.kind === 'open' && state.sends && this.#line.ask(command, answered);
  }

  /** @internal Joins and leaves, once for all that an application does in one go. */
  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    platform.queueMicrotask(() => {
      this.#settling = false;
      for (const room of [...this.#rooms.values()]) {
        if (!room.followers.size) {
          this.#rooms.delete(room.name);
          room.leave();
        } else if (this.state.kind === 'open') room.settle();
      }
    });
  }
}
