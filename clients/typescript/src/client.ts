// A client: rooms, requests and a token over one connection at a time.
//
//   idle ── connect, subscribe ──▶ connecting ── welcome, token ──▶ open
//                                   ▲      │ none opens             │ it ends
//                                   │      ▼                        ▼
//                                   └── waiting ◀───────────────────┘ ── never again ──▶ closed
//
// Composes what the other files own; it knows no sockets and no timers of its own but the connection's. Always holds: what belonged to
// a connection that ended changes nothing any more; a connection comes back as its close code advises.

import { Choice, endpointOf } from './choice.js';
import { type Clock, systemClock } from './clock.js';
import { type Answered, Connection, type Surroundings } from './connection.js';
import { advice, LOST, pause, UNAUTHORIZED } from './close_codes.js';
import { Credentials, type TokenSource } from './credentials.js';
import { RoomcastError } from './error.js';
import type { AnyRooms, EventOf, Position, RoomName, TopicName } from './event.js';
import { Listeners, type Listener, reportToPlatform, type Report, safely } from './listeners.js';
import { type Command, eventOf, type Message, payload, positionOf } from './message.js';
import { type ClientOptions, transportsOf } from './options.js';
import { Outbox, type RequestOptions } from './outbox.js';
import { type Means, platform } from './platform.js';
import { type Attempt, race, type Won } from './race.js';
import { type Follower, Room, type RoomState } from './room.js';
import {
  type History,
  type HistoryOptions,
  type Home,
  type PublishOptions,
  type SubscribeOptions,
  Subscription,
} from './subscription.js';
import { onWake } from './wake.js';

/** What the client does now. Times are milliseconds since 1970, UTC. */
export type ClientState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly since: number }
  | {
      readonly kind: 'open';
      readonly since: number;
      readonly transport: string;
      readonly endpoint: string;
      readonly connection: string;
    }
  | { readonly kind: 'waiting'; readonly until: number; readonly code: number; readonly reason: string }
  | { readonly kind: 'closed'; readonly error: RoomcastError | undefined };

/** A room of a client. */
export interface RoomSummary {
  readonly name: string;
  readonly state: RoomState;
  readonly position: Position | undefined;
  readonly error: RoomcastError | undefined;
}

/** A connection that lasted this long was a good one: the next failure is a first one. */
const GOOD_AFTER = 2_000;
/** What an attempt is given before a network that is back begins it anew. */
const PATIENCE = 500;
/** Attempts that `explain` may tell of. */
const ATTEMPTS = 30;
/** Pauses between looks for a better transport grow from the one to the other. */
const BETTER_FIRST = 5_000;
const BETTER_LAST = 600_000;

export class Client<Rooms extends object = AnyRooms> {
  #state: ClientState = { kind: 'idle' };
  /** Tells `onError` of something: for what is built upon the client. */
  readonly report: Report;
  /** @internal */
  readonly clock: Clock;
  readonly #around: Surroundings & { readonly means: Means };
  readonly #choice: Choice;
  readonly #outbox: Outbox;
  readonly #rooms = new Map<string, Room>();
  readonly #attempts: Attempt[] = [];
  readonly #states: Listeners<ClientState>;
  readonly #given: Listeners<string>;
  #connection: Connection | undefined;
  #failures = 0;
  /** Whether the pause may be cut short. */
  #mayHurry = true;
  /** Calls off what is under way: a race, a pause. */
  #stop = () => {};
  #stopWake: (() => void) | undefined;
  #stopBetter = () => {};
  #settling = false;

  constructor(options: ClientOptions) {
    const { url, token, clock = systemClock, onError = reportToPlatform, maxQueued = 100, storage } = options;
    const { WebSocket = platform.WebSocket, fetch = platform.fetch } = options;
    const endpoints = [url].flat().map((one) => endpointOf(one, platform.location?.origin));
    const means = { WebSocket, fetch };
    const remembers = () => (storage === undefined ? platform.localStorage : (storage ?? undefined));
    const report = safely(onError);
    this.report = report;
    this.clock = clock;
    this.#around = { clock, report, means, credentials: new Credentials(token) };
    this.#choice = new Choice(transportsOf(options, means), endpoints, remembers);
    this.#outbox = new Outbox(clock, maxQueued);
    this.#states = new Listeners(report);
    this.#given = new Listeners(report);
  }

  get state(): ClientState {
    return this.#state;
  }

  /** The last attempts to connect, the oldest first. */
  get attempts(): readonly Attempt[] {
    return this.#attempts;
  }

  /** The rooms that it is in, or wants to be in: only to be looked at. */
  get rooms(): readonly RoomSummary[] {
    return [...this.#rooms.values()];
  }

  /** How many commands wait for a connection that carries them. */
  get queued(): number {
    return this.#outbox.waiting;
  }

  /** Tells a listener whenever `state` changes; what it answers takes the listener out again. */
  onState(listener: Listener<ClientState>): () => void {
    return this.#states.add(listener);
  }

  /** Tells a listener of rooms that the server joins unasked, like a user's own. Subscribe to get their events. */
  onRoom(listener: Listener<string>): () => void {
    return this.#given.add(listener);
  }

  /** Connects, unless it does already. The first subscription or publish does so, too. */
  connect(): void {
    const { kind } = this.#state;
    if (kind !== 'idle' && kind !== 'closed' && kind !== 'waiting') return;
    this.#stopWake ??= onWake(platform, () => this.wake());
    void this.#dial();
  }

  /** Ends the connection and every subscription. What waits is rejected. */
  close(): void {
    const error = new RoomcastError('closed', 'the client was closed');
    this.#closed(undefined);
    this.#outbox.close(error);
    for (const { followers } of [...this.#rooms.values()])
      for (const follower of [...followers]) follower.unsubscribe();
  }

  /**
   * The network, or the application, is back: connects at once instead of at the end of a pause, or asks whether the connection still is.
   * In a browser the client notices by itself; elsewhere an application may say so (React Native: `AppState`, `NetInfo`).
   */
  wake(): void {
    const state = this.#state;
    if (state.kind === 'open') this.#connection?.wake();
    else if (state.kind === 'waiting' && this.#mayHurry) void this.#dial();
    else if (state.kind === 'connecting' && this.clock.date() - state.since > PATIENCE) void this.#dial();
  }

  /** From now on it presents other tokens: after a login or a logout. It connects anew, and rooms that were refused are asked for again. */
  authenticate(token: TokenSource | undefined): void {
    this.#around.credentials.replace(token);
    for (const room of this.#rooms.values()) room.forgive();
    const { kind, error } = { error: undefined, ...this.#state };
    if (kind !== 'idle' && (kind !== 'closed' || error)) void this.#dial();
  }

  /** Follows a room. All subscriptions of a room share one place in it; it is left when the last of them ends. */
  subscribe<Name extends RoomName<Rooms>>(
    name: Name,
    options: SubscribeOptions<Rooms[Name]> = {},
  ): Subscription<Rooms[Name]> {
    const room = this.#rooms.get(name) ?? new Room(name, this.#wire);
    const subscription = new Subscription<Rooms[Name]>(this as unknown as Home, room, options);
    if (subscription.state === 'ended') return subscription;
    this.#rooms.set(name, room);
    room.forgive();
    this.#settle();
    if (this.#state.kind === 'idle') this.connect();
    return subscription;
  }

  /**
   * Publishes an event, where the room's policy lets clients do so. Resolves with its position. It is sent once: if the answer is lost,
   * it rejects with `unknown`.
   */
  publish<Name extends RoomName<Rooms>, Topic extends TopicName<Rooms[Name]>>(
    room: Name,
    topic: Topic,
    data: Rooms[Name][Topic],
    { key, ...more }: PublishOptions = {},
  ): Promise<Position> {
    const command = { type: 'publish', room, topic, key, ...payload(data) };
    return this.request(command, more).then(positionOf);
  }

  /** Past events of a room. */
  async history<Name extends RoomName<Rooms>>(
    room: Name,
    { since, limit, ...more }: HistoryOptions = {},
  ): Promise<History<Rooms[Name]>> {
    const answer = await this.request({ type: 'history', room, since, limit }, more);
    const { events = [], complete = false } = answer;
    // What the application says of its rooms' topics is believed.
    const all = events.map((event) => eventOf(event, false)) as unknown as EventOf<Rooms[Name]>[];
    return { events: all, position: positionOf(answer), complete };
  }

  /** Any other command of the protocol: `presence`, `stats`, `ack`. Resolves with the answer. */
  request(command: Command, options?: RequestOptions): Promise<Message> {
    if (this.#state.kind === 'closed')
      return Promise.reject(this.#state.error ?? new RoomcastError('closed', 'the client was closed'));
    if (this.#state.kind === 'idle') this.connect();
    return this.#outbox.request(command, options);
  }

  /** @internal */
  release(follower: Follower, room: Room): void {
    room.followers.delete(follower);
    this.#settle();
  }

  readonly #wire = {
    ask: (command: Command, answered?: Answered) => this.#connection?.ask(command, answered),
    later: (failures: number, then: () => void) =>
      void this.clock.after(pause(LOST, failures + 2, undefined, this.clock.random), () => {
        if (this.#state.kind === 'open') then();
      }),
  };

  /** Joins and leaves, once for all that an application does in one go. */
  #settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    platform.queueMicrotask(() => {
      this.#settling = false;
      for (const room of [...this.#rooms.values()]) {
        if (room.followers.size === 0) {
          this.#rooms.delete(room.name);
          room.leave();
        } else if (this.#state.kind === 'open') {
          if (room.state === 'away') room.join();
          else room.settle();
        }
      }
    });
  }

  async #dial(): Promise<void> {
    this.#drop();
    let stopped = false;
    this.#stop = () => {
      stopped = true;
    };
    this.#become({ kind: 'connecting', since: this.clock.date() });
    let token: string | undefined;
    try {
      token = await this.#around.credentials.get();
    } catch (error) {
      if (!stopped) this.#ended(LOST, `the token could not be had: ${error}`);
      return;
    }
    if (stopped) return;
    if (this.#around.credentials.isRefused(token)) {
      return this.#closed(new RoomcastError('unauthorized', 'no token is left to try', { closeCode: UNAUTHORIZED }));
    }
    this.#stop = race(this.#choice.candidates(this.clock.date()), {
      ...this.#course(token),
      won: (won) => this.#use(won, token),
      failed: ({ code, reason, hint }) => {
        if (advice(code) === 'token') this.#around.credentials.refuse(token);
        this.#ended(code, reason, hint);
      },
    });
  }

  #course(token: string | undefined) {
    return {
      ...this.#around,
      token,
      note: (attempt: Attempt) => {
        this.#attempts.push(attempt);
        if (this.#attempts.length > ATTEMPTS) this.#attempts.shift();
      },
    };
  }

  #use(won: Won, token: string | undefined): void {
    const connection = new Connection(won, token, this.#around, {
      open: () => this.#opened(connection),
      message: (message, datagram) => this.#received(message, datagram),
      ended: (code, reason, hint) => this.#ended(code, reason, hint),
    });
    this.#connection = connection;
    connection.start();
  }

  #opened(connection: Connection): void {
    const { candidate, link, welcome } = connection.won;
    const [transport, { endpoint }] = [candidate.transport.name, candidate];
    const since = this.clock.date();
    this.#choice.remember(candidate, since);
    this.#become({ kind: 'open', since, transport, endpoint, connection: welcome.connection ?? '' });
    if (this.#connection !== connection) return;
    for (const room of this.#rooms.values()) if (room.state === 'away') room.join();
    if (link.sends) this.#outbox.opened(connection.ask);
    this.#lookForBetter(connection, BETTER_FIRST);
  }

  /** Now and then it tries whether a better transport works by now, and moves over to it. */
  #lookForBetter(connection: Connection, wait: number): void {
    const better = this.#choice.better(connection.won.candidate);
    if (better.length === 0) return;
    const again = () => this.#lookForBetter(connection, Math.min(2 * wait, BETTER_LAST));
    this.#stopBetter = this.clock.after(wait, () => {
      const { token } = connection;
      this.#stopBetter = race(better, {
        ...this.#course(token),
        won: (won) => {
          if (this.#outbox.isBusy) {
            won.link.close();
            return again();
          }
          this.#drop();
          this.#use(won, token);
        },
        failed: again,
      });
    });
  }

  #received(message: Message, datagram: boolean): void {
    const { type, room: name = '' } = message;
    const room = this.#rooms.get(name);
    if (room) room.receive(message, datagram);
    else if (type === 'subscribed') this.#given.tell(name);
  }

  /** Lets go of the connection, and of what leads to one. */
  #drop(): void {
    this.#stop();
    this.#stop = () => {};
    this.#stopBetter();
    this.#outbox.lost();
    this.#connection?.close();
    this.#connection = undefined;
    for (const room of this.#rooms.values()) room.away();
  }

  #ended(code: number, reason: string, hint?: number): void {
    const state = this.#state;
    if (state.kind === 'open' && this.clock.date() - state.since >= GOOD_AFTER) this.#failures = 0;
    this.#drop();
    const way = advice(code);
    if (way === 'never') {
      return this.#closed(new RoomcastError('closed', reason || `closed with ${code}`, { closeCode: code }));
    }
    const wait = pause(code, this.#failures, hint, this.clock.random);
    this.#failures += 1;
    this.#mayHurry = way !== 'later';
    this.#stop = this.clock.after(wait, () => void this.#dial());
    this.#become({ kind: 'waiting', until: this.clock.date() + wait, code, reason });
  }

  /** It does not come back by itself. */
  #closed(error: RoomcastError | undefined): void {
    this.#drop();
    this.#stopWake?.();
    this.#stopWake = undefined;
    this.#failures = 0;
    this.#become({ kind: 'closed', error });
    if (!error) return;
    this.#outbox.close(error);
    for (const { followers } of [...this.#rooms.values()])
      for (const follower of [...followers]) follower.closed(error);
  }

  #become(state: ClientState): void {
    this.#state = state;
    this.#states.tell(state);
  }
}
