// One follower of a room: what a part of an application holds while it wants the room's events.
//
// Owns its listeners and what comes while `load` runs. Always holds: each event is told once and in order; while events are missing
// none is told; `load` runs once at a time, and again until it succeeds.

import { onAbort } from './abort.js';
import { LOST, pause } from './close_codes.js';
import type { Clock } from './clock.js';
import { RoomcastError } from './error.js';
import type { AnyTopics, EventOf, Position, RoomEvent, TopicName } from './event.js';
import { type Listener, Listeners, type Report } from './listeners.js';
import type { Message } from './message.js';
import type { RequestOptions } from './outbox.js';
import { type NativeSignal, platform, type Signal } from './platform.js';
import type { Follower, Room, RoomState, Why } from './room.js';

/** What `load` is told. */
export interface LoadContext {
  /** The room's position now: events behind it follow. */
  readonly position: Position;
  readonly why: Why;
  /** Aborted when the state that is being loaded is out of date, or not wanted any more. */
  readonly signal: NativeSignal;
}

/**
 * Loads what the application derives from a room's events. If it knows up to which position its state goes, it answers with that: events
 * which the state contains are left out then.
 */
export type Load = (context: LoadContext) => Position | undefined | void | Promise<Position | undefined | void>;

export interface SubscribeOptions<Topics = AnyTopics> {
  /** Called when the room is joined, and whenever events are missing. Events that come meanwhile are told after it. */
  readonly load?: Load | undefined;
  /** Told of each event. */
  readonly event?: Listener<EventOf<Topics>> | undefined;
  /** Asks for the values that the room keeps, if others have joined it before. */
  readonly retained?: boolean | undefined;
  /** Ends the subscription. */
  readonly signal?: Signal | undefined;
}

export interface PublishOptions extends RequestOptions {
  /** What the event is about. */
  readonly key?: string | undefined;
}

export interface HistoryOptions extends RequestOptions {
  /** The events that followed this position; without it the newest. */
  readonly since?: Position | undefined;
  readonly limit?: number | undefined;
}

/** Past events, the oldest first. */
export interface History<Topics = AnyTopics> {
  readonly events: readonly EventOf<Topics>[];
  /** The position of the last one. */
  readonly position: Position;
  /** Whether they are everything from `since`, or from the room's first event, to the end of its log. */
  readonly complete: boolean;
}

/** What a subscription needs of its client. It believes what the application says of its rooms. */
export interface Home {
  readonly clock: Clock;
  readonly report: Report;
  release(follower: Follower, room: Room): void;
  publish(room: string, topic: string, data: unknown, options?: PublishOptions): Promise<Position>;
  history<Topics>(room: string, options?: HistoryOptions): Promise<History<Topics>>;
}

/** The most events that wait, for a `load` or in a `for await` loop. */
const MOST_WAITING = 10_000;

export class Subscription<Topics = AnyTopics> implements AsyncIterable<EventOf<Topics>> {
  readonly #follower: Follower;
  readonly #home: Home;
  readonly #room: Room;
  readonly #load: Load | undefined;
  readonly #events: Listeners<RoomEvent>;
  readonly #messages: Listeners<Message>;
  readonly #changes: Listeners<RoomState | 'ended'>;
  readonly #errors: Listeners<RoomcastError>;
  #loading: { readonly signal: NativeSignal; abort(): void } | undefined;
  /** What came while it loads, with the epoch of each. */
  #held: { event: RoomEvent; epoch: string | undefined }[] = [];
  /** What the state contains that was loaded. */
  #loaded: Position | undefined;
  #ended = false;
  #stopSignal = () => {};

  /** @internal */
  constructor(home: Home, room: Room, { load, event, retained = false, signal }: SubscribeOptions<Topics>) {
    this.#home = home;
    this.#room = room;
    this.#load = load;
    this.#follower = {
      started: false,
      fresh: true,
      retained,
      incomplete: (why, position) => this.#incomplete(why, position),
      events: (events, epoch) => this.#take(events, epoch),
      message: (message) => this.#messages.tell(message),
      changed: () => this.#changed(),
      closed: (error) => this.#errors.tell(error),
      unsubscribe: () => this.unsubscribe(),
    };
    const { report } = home;
    this.#events = new Listeners(report);
    this.#messages = new Listeners(report);
    this.#changes = new Listeners(report);
    this.#errors = new Listeners(report);
    if (event) this.onEvent(event);
    room.followers.add(this.#follower);
    this.#stopSignal = onAbort(signal, () => this.unsubscribe());
  }

  /** The room's name. */
  get room(): string {
    return this.#room.name;
  }

  /** `away`: there is no connection now. */
  get state(): RoomState | 'ended' {
    return this.#ended ? 'ended' : this.#room.state;
  }

  /** How far the room's events have come. */
  get position(): Position | undefined {
    return this.#room.position;
  }

  /** Whether `load` runs, and events wait for it. */
  get isLoading(): boolean {
    return this.#loading !== undefined;
  }

  /** Why the room was refused. */
  get error(): RoomcastError | undefined {
    return this.#room.error;
  }

  /** Tells a listener of each event; what it answers takes the listener out again. */
  onEvent(listener: Listener<EventOf<Topics>>): () => void {
    return this.#events.add(listener as Listener<RoomEvent>);
  }

  /** Tells a listener of each event of a topic. */
  on<Topic extends TopicName<Topics>>(
    topic: Topic,
    listener: Listener<Extract<EventOf<Topics>, { readonly topic: Topic }>>,
  ): () => void {
    return this.#events.add((event) => {
      if (event.topic === topic) (listener as Listener<RoomEvent>)(event);
    });
  }

  /** Tells a listener whenever `state` changes. */
  onChange(listener: Listener<RoomState | 'ended'>): () => void {
    return this.#changes.add(listener);
  }

  /** Tells a listener of refusals, and of missing events where there is no `load`. */
  onError(listener: Listener<RoomcastError>): () => void {
    return this.#errors.add(listener);
  }

  /** Tells a listener of the server's other messages about the room: `presence`, `joined`, `left`. */
  onMessage(listener: Listener<Message>): () => void {
    return this.#messages.add(listener);
  }

  /** Resolves when the room is joined; rejects when it is refused, or the subscription ends. */
  joined(signal?: Signal): Promise<Position> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { state, position, error } = this;
        if (state === 'joined' && position) resolve(position);
        else if (state === 'refused' && error) reject(error);
        else if (state === 'ended') reject(new RoomcastError('aborted', 'the subscription ended', { room: this.room }));
        else return;
        stop();
        stopSignal();
      };
      const stop = this.onChange(look);
      const stopSignal = onAbort(signal, (error) => (stop(), reject(error)));
      look();
    });
  }

  publish<Topic extends TopicName<Topics>>(
    topic: Topic,
    data: Topics[Topic],
    options?: PublishOptions,
  ): Promise<Position> {
    return this.#home.publish(this.room, topic, data, options);
  }

  history(options?: HistoryOptions): Promise<History<Topics>> {
    return this.#home.history(this.room, options);
  }

  /** Ends it. The room is left when its last subscription ends. */
  unsubscribe(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopSignal();
    this.#loading?.abort();
    this.#loading = undefined;
    this.#held = [];
    this.#home.release(this.#follower, this.#room);
    this.#changes.tell('ended');
  }

  /**
   * The events from now on. The loop ends with the subscription; it throws if the room is refused, if events are missing and there is no
   * `load`, and if more than 10,000 wait for it.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<EventOf<Topics>, void, undefined> {
    const waiting: EventOf<Topics>[] = [];
    let failure = this.state === 'refused' ? this.error : undefined;
    let wake = () => {};
    const stops = [
      this.onEvent((event) => {
        if (waiting.length < MOST_WAITING) waiting.push(event);
        else failure ??= new RoomcastError('too_slow', `${MOST_WAITING} events wait for the loop`, { room: this.room });
        wake();
      }),
      this.onError((error) => {
        failure ??= error;
        wake();
      }),
      this.onChange(() => wake()),
    ];
    try {
      for (;;) {
        const event = waiting.shift();
        if (event) yield event;
        else if (failure) throw failure;
        else if (this.#ended) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      for (const stop of stops) stop();
    }
  }

  #incomplete(why: Why, position: Position): void {
    if (this.#ended) return;
    this.#loading?.abort();
    this.#held = [];
    if (this.#load) void this.#run(this.#load, why, position);
    else if (why !== 'joined')
      this.#fail(new RoomcastError('incomplete', `events are missing (${why})`, { room: this.room }));
  }

  #take(events: readonly RoomEvent[], epoch: string | undefined): void {
    for (const event of events) {
      if (this.#ended) return;
      if (!this.#loading) this.#tell(event, epoch);
      else if (this.#held.length < MOST_WAITING) this.#held.push({ event, epoch });
      else if (this.position) return this.#incomplete('overflow', this.position);
    }
  }

  #changed(): void {
    const { state, error } = this;
    if (state === 'refused' && error) this.#fail(error);
    this.#changes.tell(state);
  }

  async #run(load: Load, why: Why, position: Position): Promise<void> {
    const mine = new platform.AbortController();
    this.#loading = mine;
    for (let failures = 0; ; failures++) {
      try {
        const loaded = await load({ position, why, signal: mine.signal });
        if (this.#loading !== mine) return;
        this.#loaded = loaded ?? undefined;
        break;
      } catch (error) {
        if (this.#loading !== mine) return;
        const { clock, report } = this.#home;
        report(error);
        const wait = pause(LOST, failures + 1, undefined, clock.random);
        await new Promise<void>((resolve) => void clock.after(wait, resolve));
        if (this.#loading !== mine) return;
      }
    }
    this.#loading = undefined;
    const held = this.#held;
    this.#held = [];
    for (const { event, epoch } of held) this.#tell(event, epoch);
    this.#changes.tell(this.state);
  }

  #tell(event: RoomEvent, epoch: string | undefined): void {
    const loaded = this.#loaded;
    if (loaded && loaded.epoch === epoch && event.offset !== undefined && event.offset <= loaded.offset) return;
    if (!this.#ended) this.#events.tell(event);
  }

  /** A failure that no listener takes is reported: it must not pass unnoticed. */
  #fail(error: RoomcastError): void {
    if (this.#errors.isEmpty) this.#home.report(error);
    else this.#errors.tell(error);
  }
}
