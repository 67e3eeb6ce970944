// One follower of a room: what a part of an application holds while it wants the room's events.
//
// Owns its listeners and what comes while `load` runs. Always holds: each event is told once and in order; while events are missing
// none is told; `load` runs once at a time, and again until it succeeds.

import { abortable, onAbort } from './abort.js';
import { LOST, pause } from './close_codes.js';
import type { Clock } from './clock.js';
import { type LocalErrorCode, RoomcastError } from './error.js';
import type { AnyTopics, EventOf, Position, RoomEvent, TopicName } from './event.js';
import type { ClientState } from './line.js';
import { type Listener, listeners, type Report } from './listeners.js';
import type { Message } from './message.js';
import { type NativeSignal, platform, type Signal } from './platform.js';
import type { Follower, FollowerNews, Room, RoomState, Why } from './room.js';

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

/** What a subscription is told when it is made. */
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

/** One follower of a room. */
export interface Subscription<Topics = AnyTopics> extends AsyncIterable<EventOf<Topics>> {
  /** The room's name. */
  readonly room: string;
  /** `away`: there is no connection now. */
  readonly state: RoomState | 'ended';
  /** How far the room's events have come. */
  readonly position: Position | undefined;
  /** Whether `load` runs, and events wait for it. */
  readonly isLoading: boolean;
  /** Why the room was refused; or why there is nothing more to come, where the client is closed. */
  readonly error: RoomcastError | undefined;
  /** Tells a listener of each event; what it answers takes the listener out again. */
  onEvent(listener: Listener<EventOf<Topics>>): () => void;
  /** Tells a listener of each event of a topic. */
  on<Topic extends TopicName<Topics>>(
    topic: Topic,
    listener: Listener<Extract<EventOf<Topics>, { readonly topic: Topic }>>,
  ): () => void;
  /** Tells a listener whenever `state` changes. */
  onChange(listener: Listener<RoomState | 'ended'>): () => void;
  /** Tells a listener of refusals, and of missing events where there is no `load`. */
  onError(listener: Listener<RoomcastError>): () => void;
  /** Tells a listener of the server's other messages about the room: `presence`, `joined`, `left`. */
  onMessage(listener: Listener<Message>): () => void;
  /** Resolves when the room is joined; rejects when it is refused, the client is closed, or the subscription ends. */
  joined(signal?: Signal): Promise<Position>;
  /** Ends it. The room is left when its last subscription ends. */
  unsubscribe(): void;
  /**
   * The events from now on. The loop ends with the subscription; it throws if the room is refused, if the client is closed, if events are
   * missing and there is no `load`, and if more than 10,000 wait for it.
   */
  [Symbol.asyncIterator](): AsyncGenerator<EventOf<Topics>, void, undefined>;
}

/** What a subscription needs of its client. It believes what the application says of its rooms. */
export interface Home {
  readonly clock: Clock;
  readonly report: Report;
  readonly state: ClientState;
  /** A room has one follower less. */
  settle(): void;
}

/** The most events that wait, for a `load` or in a `for await` loop. */
const MOST_WAITING = 10_000;

/** Begins to follow a room. */
export function follow<Topics>(
  home: Home,
  room: Room,
  { load, event, retained = false, signal }: SubscribeOptions<Topics>,
): Subscription<Topics> {
  const { name, followers } = room;
  const { clock, report } = home;
  const { add, tell } = listeners<FollowerNews>(report);
  let loading: { readonly signal: NativeSignal; abort(): void } | undefined;
  /** What came while it loads, with the epoch of each. */
  let held: { event: RoomEvent; epoch: string | undefined }[] = [];
  /** What the state contains that was loaded. */
  let loaded: Position | undefined;
  let ended = false;
  let stopSignal: (() => void) | undefined;

  const error = (code: LocalErrorCode, message: string) => new RoomcastError(code, message, { room: name });
  /** A failure that no listener takes is reported: it must not pass unnoticed. */
  const fail = (error: RoomcastError) => tell('error', error) || report(error);
  const pass = (event: RoomEvent, epoch: string | undefined) => {
    const { offset } = event;
    const isLoaded = loaded && loaded.epoch === epoch && offset !== undefined && offset <= loaded.offset;
    if (!ended && !isLoaded) tell('event', event);
  };
  const run = async (why: Why, position: Position) => {
    const mine = new platform.AbortController();
    loading = mine;
    for (let failures = 1; loading === mine; failures++) {
      try {
        const state = await (load as Load)({ position, why, signal: mine.signal });
        if (loading !== mine) return;
        loaded = state ?? undefined;
        loading = undefined;
        for (const { event, epoch } of held.splice(0)) pass(event, epoch);
        tell('change', room.state);
      } catch (error) {
        if (loading !== mine) return;
        report(error);
        const wait = pause(LOST, failures, clock.random);
        await new Promise<void>((resolve) => void clock.after(wait, resolve));
      }
    }
  };
  const incomplete = (why: Why, position: Position) => {
    if (ended) return;
    loading?.abort();
    held = [];
    if (load) void run(why, position);
    else if (why !== 'joined') fail(error('incomplete', `missed events: ${why}`));
  };
  const unsubscribe = () => {
    if (ended) return;
    ended = true;
    stopSignal?.();
    loading?.abort();
    loading = undefined;
    followers.delete(follower);
    home.settle();
    tell('change', 'ended');
  };
  const follower: Follower = {
    started: false,
    fresh: true,
    retained,
    incomplete,
    unsubscribe,
    tell,
    events(events, epoch) {
      for (const event of events) {
        if (!loading) pass(event, epoch);
        else if (held.length < MOST_WAITING) held.push({ event, epoch });
        else if (room.position) return incomplete('overflow', room.position);
      }
    },
    changed() {
      if (room.error) fail(room.error);
      tell('change', room.state);
    },
  };

  const self: Subscription<Topics> = {
    room: name,
    get state() {
      return ended ? 'ended' : room.state;
    },
    get position() {
      return room.position;
    },
    get isLoading() {
      return !!loading;
    },
    get error() {
      const { state } = home;
      return room.error ?? (state.kind === 'closed' ? (state.error ?? error('closed', 'closed')) : undefined);
    },
    onEvent: (listener) => add('event', listener as Listener<RoomEvent>),
    on: (topic, listener) => add('event', (event) => event.topic === topic && (listener as Listener<RoomEvent>)(event)),
    onChange: (listener) => add('change', listener),
    onError: (listener) => add('error', listener),
    onMessage: (listener) => add('message', listener),
    joined: (signal) =>
      abortable((resolve, reject) => {
        const look = () => {
          if (ended) reject(error('aborted', 'ended'));
          else if (self.error) reject(self.error);
          else if (room.state === 'joined' && room.position) resolve(room.position);
        };
        look();
        return add('change', look);
      }, signal),
    unsubscribe,
    async *[Symbol.asyncIterator]() {
      interface News {
        readonly event?: EventOf<Topics>;
        readonly error?: RoomcastError;
      }
      const waiting: News[] = [];
      let wake: (() => void) | undefined;
      const put = (news: News) => {
        if (waiting.length < MOST_WAITING) waiting.push(news);
        else waiting[MOST_WAITING] ??= { error: error('too_slow', 'too slow') };
        wake?.();
      };
      const stops = [
        add('change', () => wake?.()),
        add('error', (error) => put({ error })),
        add('event', (event) => put({ event: event as EventOf<Topics> })),
      ];
      try {
        for (;;) {
          const { event, error } = waiting.shift() ?? {};
          if (event) yield event;
          else if (error) throw error;
          else if (ended) return;
          else if (self.error) throw self.error;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        for (const stop of stops) stop();
      }
    },
  };
  if (event) add('event', event as Listener<RoomEvent>);
  followers.add(follower);
  stopSignal = onAbort(signal, unsubscribe);
  return self;
}
