// What an application asks of the server beside following rooms: publishing, past events, any command; and what of it waits for a
// connection.
//
// Bounded: what finds it full is refused with `queue_full`. Always holds: a publish is one event, because it is sent again with the key
// that the server knows it by, byte for byte as it was, by the same user, and only for as long as the server knows the key; then its outcome
// is `unknown`. All other commands change nothing when they are carried out twice. What waited is sent in its order, a publish at a time, so
// that a rate limit cannot turn two of them around.

import { abortable } from './abort.js';
import type { Answered } from './connection.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { AnyRooms, AnyTopics, Client, Command, EventOf, Message, Position, RoomName, TopicName } from './index.js';
import { isTooLong } from './limits.js';
import { eventOf, payload, positionOf } from './message.js';
import { platform, type Signal } from './platform.js';
import { PASSING } from './room.js';

/** How a command is sent. */
export interface RequestOptions {
  /** Without a connection that can carry it: wait for one (`queue`, the default), or `fail`. */
  readonly offline?: 'queue' | 'fail' | undefined;
  /** Calls it off. What was sent already may be carried out nevertheless. */
  readonly signal?: Signal | undefined;
}

/** How an event is published. */
export interface PublishOptions extends RequestOptions {
  /** What the event is about. */
  readonly key?: string | undefined;
  /** The application's own id of the event, as receivers see it. */
  readonly id?: string | undefined;
  /**
   * What the server knows the publish by when it is sent again; another one for each call unless told otherwise. An application that keeps
   * what it publishes, over a reload say, keeps this too. No other client should be able to guess it.
   */
  readonly idempotencyKey?: string | undefined;
}

/** Which past events are asked for. */
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

/** What a client may ask of the server. */
export interface Commands<Rooms extends object = AnyRooms> {
  /** How many wait for a connection. */
  readonly waiting: number;
  /**
   * Publishes an event, where the room's policy lets clients do so. Resolves with its position. If the answer is lost, it is sent again,
   * and is one event nevertheless; it rejects with `unknown` where that cannot be said any more.
   */
  publish<Name extends RoomName<Rooms>, Topic extends TopicName<Rooms[Name]>>(
    room: Name,
    topic: Topic,
    data: Rooms[Name][Topic],
    options?: PublishOptions,
  ): Promise<Position>;
  /** Past events of a room, which need not be joined. */
  history<Name extends RoomName<Rooms>>(room: Name, options?: HistoryOptions): Promise<History<Rooms[Name]>>;
  /** Any other command of the protocol: `presence`, `stats`, `ack`. Resolves with the answer. */
  request(command: Command, options?: RequestOptions): Promise<Message>;
}

/** What the commands of a client are told when they are first asked for. */
export interface CommandsOptions {
  /** The most that wait for a connection; 100 unless told otherwise. */
  readonly maxQueued?: number | undefined;
  /**
   * For how many milliseconds a publish may be sent again: less than the server knows its key, which is 5 minutes unless its
   * `redis.idempotency_age` says otherwise; 240,000 unless told otherwise.
   */
  readonly repeatWithin?: number | undefined;
}

interface Entry {
  readonly command: Command;
  /** Whether it waits where there is no connection, or none any more. */
  readonly waits: boolean;
  /** Its place among all. */
  readonly order: number;
  /** When it was first sent, by both clocks: one may stand still while the computer sleeps, the other may be set. */
  sent?: { readonly now: number; readonly date: number };
  isOver?: boolean;
  resolve(message: Message): void;
  reject(error: RoomcastError): void;
}

const PAUSE = 1_000;

/** The commands of a client: the same ones for all parts of an application, so that they share one queue. */
export function commands<Rooms extends object = AnyRooms>(
  client: Client<Rooms>,
  { maxQueued = 100, repeatWithin = 240_000 }: CommandsOptions = {},
): Commands<Rooms> {
  client.commands ??= begin(client, maxQueued, repeatWithin);
  return client.commands as Commands<Rooms>;
}

function begin<Rooms extends object>(client: Client<Rooms>, most: number, repeatWithin: number): Commands<Rooms> {
  const { clock } = client;
  let waiting: Entry[] = [];
  let count = 0;
  /** Whether a publish that waited is on its way, or is held back for a moment. */
  let alone = false;
  let endPause: (() => void) | undefined;

  const isOld = ({ sent }: Entry) => sent && Math.max(clock.now() - sent.now, clock.date() - sent.date) > repeatWithin;
  const drain = () => {
    for (const entry of waiting.splice(0)) {
      const publishes = isPublish(entry);
      if (publishes && isOld(entry)) fail(entry);
      else if (publishes && alone) again(entry);
      else {
        alone ||= publishes;
        // Where there is no connection any more, the next one begins anew.
        if (!go(entry, publishes)) again(entry);
      }
    }
  };
  const again = (entry: Entry) => {
    if (entry.isOver) return;
    waiting.push(entry);
    waiting.sort((one, other) => one.order - other.order);
  };
  const go = (entry: Entry, waited: boolean): boolean => {
    const { command, resolve, reject } = entry;
    const next = () => {
      if (!waited) return;
      alone = false;
      drain();
    };
    const answered: Answered = (answer) => {
      if (!answer) {
        if (entry.waits) again(entry);
        else fail(entry);
        return;
      }
      const { type, code, message, room } = answer;
      if (waited && PASSING.includes(code as string)) {
        // It goes alone, so that none overtakes it.
        again(entry);
        endPause = clock.after(PAUSE, next);
        return;
      }
      if (type === 'error') reject(new RoomcastError(code as ErrorCode, message as string, { room }));
      else resolve(answer);
      next();
    };
    if (isTooLong(client, command))
      answered({ ...command, type: 'error', code: 'limit_exceeded', message: 'too long' });
    else if (!client.ask(command, answered)) return false;
    entry.sent ??= { now: clock.now(), date: clock.date() };
    return true;
  };
  client.onState((state) => {
    alone = false;
    endPause?.();
    // Rooms are joined first, so that they tell of what is published.
    if (state.kind === 'open') return void Promise.resolve().then(drain);
    const error = state.kind === 'closed' ? closed(state.error) : undefined;
    for (const entry of waiting.splice(0)) {
      // From `idle` on it is another user's.
      if (!error && state.kind !== 'idle' && entry.waits) waiting.push(entry);
      else fail(entry, error);
    }
  });

  const request = (command: Command, { offline, signal }: RequestOptions = {}) =>
    abortable<Message>((resolve, reject) => {
      // What it says now, whatever becomes of its data while it waits.
      const said = JSON.parse(JSON.stringify(command)) as Command;
      const entry: Entry = { command: said, waits: offline !== 'fail', order: ++count, resolve, reject };
      const { state } = client;
      const inOrder = isPublish(entry) && (waiting[0] || alone);
      const carries = state.kind === 'open' && state.sends;
      if (state.kind === 'closed') reject(closed(state.error));
      else if (signal?.aborted || (!inOrder && go(entry, false))) {
        // It is off, or on its way.
      } else if (!entry.waits && !carries) reject(lost());
      else if (waiting.length < most) waiting.push(entry);
      else reject(new RoomcastError('queue_full', `${most} commands wait already`));
      if (state.kind === 'idle') client.connect();
      return () => {
        entry.isOver = true;
        waiting = waiting.filter((other) => other !== entry);
      };
    }, signal);
  return {
    get waiting() {
      return waiting.length;
    },
    publish: (room, topic, data, { key, id, idempotencyKey = randomKey(clock.random), ...more } = {}) => {
      const named = { key, event_id: id, idempotency_key: idempotencyKey };
      return request({ type: 'publish', room, topic, ...named, ...payload(data) }, more).then(positionOf);
    },
    async history(room, { since, limit, ...more } = {}) {
      const answer = await request({ type: 'history', room, since, limit }, more);
      const { events = [], complete = false } = answer;
      // What the application says of its rooms' topics is believed.
      const all = events.map((event) => eventOf(event, false)) as unknown as EventOf<Rooms[typeof room]>[];
      return { events: all, position: positionOf(answer), complete };
    },
    request,
  };
}

const isPublish = ({ command }: Entry) => command.type === 'publish';
const lost = () => new RoomcastError('lost', 'no connection');
/** Of a publish that was sent nobody can say whether it is there. */
const fail = (entry: Entry, error = lost()) =>
  entry.reject(entry.sent && isPublish(entry) ? new RoomcastError('unknown', 'the answer was lost') : error);
/** What no other client guesses, where the place can make such a thing. */
function randomKey(random: () => number): string {
  const numbers = new Uint32Array(4).map(() => random() * 2 ** 32);
  return (platform.crypto?.getRandomValues(numbers) ?? numbers).join('-');
}
const closed = (error: RoomcastError | undefined) => error ?? new RoomcastError('closed', 'closed');
