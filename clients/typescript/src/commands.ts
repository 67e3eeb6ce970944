// What an application asks of the server beside following rooms: publishing, past events, any command; and what of it waits for a
// connection.
//
// Bounded: what finds it full is refused with `queue_full`. Always holds: a publish is sent once; if its answer is lost, the outcome is
// `unknown`. All other commands change nothing when they are carried out twice. What waited is sent in its order, a publish at a time, so
// that a rate limit cannot turn two of them around.

import { abortable } from './abort.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { AnyRooms, AnyTopics, Client, Command, EventOf, Message, Position, RoomName, TopicName } from './index.js';
import { eventOf, payload, positionOf } from './message.js';
import type { Signal } from './platform.js';

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
   * Publishes an event, where the room's policy lets clients do so. Resolves with its position. It is sent once: if the answer is lost, it
   * rejects with `unknown`.
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
}

interface Entry {
  readonly command: Command;
  resolve(message: Message): void;
  reject(error: RoomcastError): void;
}

const RATE_PAUSE = 1_000;

/** The commands of a client: the same ones for all parts of an application, so that they share one queue. */
export function commands<Rooms extends object = AnyRooms>(
  client: Client<Rooms>,
  { maxQueued = 100 }: CommandsOptions = {},
): Commands<Rooms> {
  client.commands ??= begin(client, maxQueued);
  return client.commands as Commands<Rooms>;
}

function begin<Rooms extends object>(client: Client<Rooms>, most: number): Commands<Rooms> {
  let waiting: Entry[] = [];
  /** Whether a publish that waited is on its way, or is held back by a rate limit. */
  let alone = false;
  let endPause: (() => void) | undefined;

  const drain = () => {
    waiting = waiting.filter((entry) => {
      const publishes = isPublish(entry);
      if (publishes && alone) return true;
      const isSent = go(entry, publishes);
      alone ||= isSent && publishes;
      return !isSent;
    });
  };
  const go = (entry: Entry, waited: boolean): boolean => {
    const { command, resolve, reject } = entry;
    const next = () => {
      if (!waited) return;
      alone = false;
      drain();
    };
    return client.ask(command, (answer) => {
      if (!answer) {
        if (isPublish(entry)) reject(new RoomcastError('unknown', 'the connection ended before the answer came'));
        else waiting.unshift(entry);
        return;
      }
      const { type, code, message = '', room } = answer;
      if (waited && code === 'rate_limited') {
        // The server did not carry it out.
        waiting.unshift(entry);
        endPause = client.clock.after(RATE_PAUSE, next);
        return;
      }
      if (type === 'error') reject(new RoomcastError(code as ErrorCode, message, { room }));
      else resolve(answer);
      next();
    });
  };
  client.onState((state) => {
    alone = false;
    endPause?.();
    // Rooms are joined first, so that they tell of what is published.
    if (state.kind === 'open') void Promise.resolve().then(drain);
    if (state.kind !== 'closed') return;
    const error = closed(state.error);
    for (const { reject } of waiting.splice(0)) reject(error);
  });

  const request = (command: Command, { offline, signal }: RequestOptions = {}) =>
    abortable<Message>(signal, (resolve, reject) => {
      const entry = { command, resolve, reject };
      const { state } = client;
      const inOrder = isPublish(entry) && (waiting[0] || alone);
      const carries = state.kind === 'open' && state.sends;
      if (state.kind === 'closed') reject(closed(state.error));
      else if (signal?.aborted || (!inOrder && go(entry, false))) {
        // It is off, or on its way.
      } else if (offline === 'fail' && !carries)
        reject(new RoomcastError('lost', 'there is no connection that carries it'));
      else if (waiting.length < most) waiting.push(entry);
      else reject(new RoomcastError('queue_full', `${most} commands wait already`));
      if (state.kind === 'idle') client.connect();
      return () => {
        waiting = waiting.filter((other) => other !== entry);
      };
    });
  return {
    get waiting() {
      return waiting.length;
    },
    publish: (room, topic, data, { key, ...more } = {}) =>
      request({ type: 'publish', room, topic, key, ...payload(data) }, more).then(positionOf),
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
const closed = (error: RoomcastError | undefined) => error ?? new RoomcastError('closed', 'the client was closed');
