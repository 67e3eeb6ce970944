// What the members of a room show each other for a moment: that one is typing, where its cursor is.
//
// Never waits for a connection: what cannot be shown now is not shown. Always holds: of one sender's signals of a topic the newest
// counts, whatever overtook it; what is shown ends by this client's own clock, if its end is lost; after a reconnect nothing is
// known. A sender may call `send` at each keystroke: one in a while goes.

import { RoomcastError } from './error.js';
import type { AnyRooms, AnyTopics, Client, Message, RoomName, ServerErrorCode } from './index.js';
import { isTooLong } from './limits.js';
import { listeners } from './listeners.js';

/** What another member shows. */
export interface ShownSignal<Topic extends string = string, Data = unknown> {
  readonly topic: Topic;
  readonly data: Data;
  /** Its sender; where that has no user, its `connection` instead. */
  readonly user?: string | undefined;
  readonly connection?: string | undefined;
  /** When the server took it in: milliseconds since 1970, UTC. */
  readonly time: number;
}

/** Any signal of a room: its `topic` tells the type of its `data`. */
export type SignalOf<Topics> = {
  [Topic in keyof Topics & string]: ShownSignal<Topic, Topics[Topic]>;
}[keyof Topics & string];

/** The signals of a room. */
export interface Signals<Topics extends object = AnyTopics> {
  /** What the others show now, the oldest first: a list that does not change, the same one until something changes. */
  readonly snapshot: readonly SignalOf<Topics>[];
  /**
   * Shows something to the others; a newer one takes its place. `ttl`: for how many milliseconds, unless it is sent again; without it the
   * room's policy decides. Where the room is not joined nothing happens.
   */
  send<Topic extends keyof Topics & string>(topic: Topic, data?: Topics[Topic], options?: { ttl?: number }): void;
  /** Takes back what it shows. */
  stop(topic: keyof Topics & string): void;
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (signals: Signals<Topics>) => void): () => void;
  /** Takes back what it shows, and ends it. */
  close(): void;
}

/** What the signals of a room are told when they begin. */
export interface SignalsOptions {
  /** The shortest time between two signals of a topic, in milliseconds; 1,000 unless told otherwise. Of those between, the newest goes. */
  readonly every?: number | undefined;
}

/** A little more than the `ttl`: the server's own end of it may be on its way. */
const GRACE = 1_000;
/** For how long an end is remembered, so that a signal which it overtook is not shown. */
const REMEMBERED_FOR = 10_000;
/** The most senders and topics that are known of; the oldest is forgotten. */
const MOST = 1_000;

/** Follows the signals of a room, which joins it. The room's policy has to allow them. */
export function signals<Rooms extends object = AnyRooms, Topics extends object = AnyTopics>(
  client: Client<Rooms>,
  room: RoomName<Rooms>,
  { every = 1_000 }: SignalsOptions = {},
): Signals<Topics> {
  interface Known {
    readonly signal: ShownSignal;
    readonly isShown: boolean;
    forget(): void;
  }
  const known = new Map<string, Known>();
  /** The topics of which one went a moment ago, with what is to go next. */
  const held = new Map<string, { next: (() => void) | undefined; stop(): void }>();
  /** The topics that are shown, as far as this knows. */
  const showing = new Set<string>();
  const { add, tell } = listeners<{ change: Signals<Topics> }>(client.report);
  let snapshot: readonly ShownSignal[] | undefined;

  const changed = () => {
    snapshot = undefined;
    tell('change', self);
  };
  const receive = ({ type, topic = '', user, connection, data, ttl = 0, time = 0 }: Message) => {
    if (type !== 'signal') return;
    const key = JSON.stringify([topic, user, connection]);
    const before = known.get(key);
    if (before && time < before.signal.time) return;
    before?.forget();
    const isShown = ttl > 0;
    const stop = client.clock.after(isShown ? ttl + GRACE : REMEMBERED_FOR, () => {
      known.delete(key);
      if (isShown) changed();
    });
    const forget = () => (stop(), known.delete(key));
    known.set(key, { signal: { topic, data, user, connection, time }, isShown, forget });
    if (known.size > MOST) for (const { forget } of [...known.values()].slice(0, 1)) forget();
    if (isShown || before?.isShown) changed();
  };
  const say = (topic: string, data: unknown, ttl: number | undefined) => {
    const fail = (code: string | undefined, message = '') =>
      client.report(new RoomcastError(code as ServerErrorCode, message, { room }));
    const command = { type: 'signal', room, topic, data, ttl };
    if (isTooLong(client, command)) return fail('limit_exceeded', 'too long');
    client.ask(command, (answer) => {
      const { type, code, message } = answer ?? {};
      // It may have been left meanwhile; and long-polls are in no room.
      if (type === 'error' && code !== 'not_subscribed') fail(code, message);
    });
  };
  const go = (topic: string, show: () => void) => {
    showing.add(topic);
    show();
    const entry = {
      next: undefined as (() => void) | undefined,
      stop: client.clock.after(every, () => {
        held.delete(topic);
        if (entry.next) go(topic, entry.next);
      }),
    };
    held.set(topic, entry);
  };
  const stop = (topic: string) => {
    const entry = held.get(topic);
    if (entry) entry.next = undefined;
    if (showing.delete(topic)) say(topic, undefined, 0);
  };
  const subscription = client.subscribe(room);
  const stops = [
    subscription.onMessage(receive),
    subscription.onChange((state) => {
      if (state === 'joined') return;
      showing.clear();
      for (const entry of held.values()) entry.next = undefined;
      for (const { forget } of [...known.values()]) forget();
      if (snapshot?.[0]) changed();
    }),
  ];

  const self: Signals<Topics> = {
    get snapshot() {
      snapshot ??= [...known.values()].flatMap(({ signal, isShown }) => (isShown ? signal : []));
      // What the application says of its rooms' topics is believed.
      return snapshot as unknown as readonly SignalOf<Topics>[];
    },
    send(topic, data, { ttl } = {}) {
      if (subscription.state !== 'joined') return;
      const show = () => say(topic, data, ttl);
      const entry = held.get(topic);
      if (entry) entry.next = show;
      else go(topic, show);
    },
    stop,
    onChange: (listener) => add('change', listener),
    close() {
      for (const topic of [...showing]) stop(topic);
      for (const { stop } of held.values()) stop();
      for (const { forget } of [...known.values()]) forget();
      for (const stop of stops) stop();
      subscription.unsubscribe();
    },
  };
  return self;
}
