// What the application asks of the server: what waits for a connection, and what waits for its answer.
//
// Bounded: what finds it full is refused with `queue_full`. Always holds: a command that may not be carried out twice is sent once;
// if its answer is lost, the outcome is `unknown`. What waited is sent in its order, a publish at a time, so that a rate limit cannot
// turn two of them around.

import { onAbort } from './abort.js';
import type { Clock } from './clock.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { Command, Message } from './message.js';
import type { Signal } from './platform.js';

export interface RequestOptions {
  /** Without a connection that can carry it: wait for one (`queue`, the default), or `fail`. */
  readonly offline?: 'queue' | 'fail' | undefined;
  /** Calls it off. What was sent already may be carried out nevertheless. */
  readonly signal?: Signal | undefined;
}

/** Sends a command, and answers with its id. */
export type Send = (command: Command) => number;

interface Entry {
  readonly command: Command;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: RoomcastError) => void;
  /** Whether it waited: it is sent alone, and again where the server did not carry it out because of a limit. */
  waited: boolean;
}

/** Carried out twice, they change nothing. */
const REPEATABLE = ['history', 'presence', 'stats', 'ping', 'ack'];
const RATE_PAUSE = 1_000;

export class Outbox {
  readonly #clock: Clock;
  readonly #most: number;
  #waiting: Entry[] = [];
  readonly #sent = new Map<number, Entry>();
  #send: Send | undefined;
  /** Whether a publish that waited is on its way. */
  #alone = false;
  #endPause = () => {};

  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
  }

  /** How many wait for a connection. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether an answer is awaited that would be lost with the connection. */
  get isBusy(): boolean {
    for (const { command } of this.#sent.values()) if (!REPEATABLE.includes(command.type)) return true;
    return false;
  }

  request(command: Command, { offline, signal }: RequestOptions = {}): Promise<Message> {
    return new Promise((resolve, reject) => {
      const entry: Entry = { command, resolve, reject, waited: false };
      if (signal?.aborted) return onAbort(signal, reject);
      const inOrder = command.type === 'publish' && (this.#waiting.length > 0 || this.#alone);
      if (this.#send && !inOrder) {
        this.#sent.set(this.#send(command), entry);
      } else if (!this.#send && offline === 'fail') {
        return reject(new RoomcastError('lost', 'there is no connection that carries it'));
      } else if (this.#waiting.length >= this.#most) {
        return reject(new RoomcastError('queue_full', `${this.#most} commands wait already`));
      } else {
        entry.waited = true;
        this.#waiting.push(entry);
      }
      const stop = onAbort(signal, (error) => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(error);
      });
      // Either way it is over then.
      Object.assign(entry, {
        resolve: (message: Message) => (stop(), resolve(message)),
        reject: (error: RoomcastError) => (stop(), reject(error)),
      });
    });
  }

  /** There is a connection that carries everything. */
  opened(send: Send): void {
    this.#send = send;
    this.#drain();
  }

  /** The connection ended. What may be repeated waits for the next one. */
  lost(): void {
    this.#send = undefined;
    this.#alone = false;
    this.#endPause();
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    const again = sent.filter(({ command }) => REPEATABLE.includes(command.type));
    for (const entry of again) entry.waited = true;
    this.#waiting.unshift(...again);
    for (const entry of sent) {
      if (!again.includes(entry))
        entry.reject(new RoomcastError('unknown', 'the connection ended before the answer came'));
    }
  }

  /** Nothing comes any more. */
  close(error: RoomcastError): void {
    this.lost();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** Takes an answer; whether it was one to a command of its own. */
  receive(message: Message): boolean {
    const entry = this.#sent.get(message.id ?? 0);
    if (!entry) return false;
    this.#sent.delete(message.id ?? 0);
    const alone = entry.waited && entry.command.type === 'publish';
    if (alone && message.code === 'rate_limited') {
      this.#waiting.unshift(entry);
      this.#endPause = this.#clock.after(RATE_PAUSE, () => {
        this.#alone = false;
        this.#drain();
      });
      return true;
    }
    if (message.type === 'error') {
      const { code, message: text = '', room } = message;
      entry.reject(new RoomcastError(code as ErrorCode, text, { room }));
    } else {
      entry.resolve(message);
    }
    if (alone) {
      this.#alone = false;
      this.#drain();
    }
    return true;
  }

  #drain(): void {
    const send = this.#send;
    if (!send) return;
    this.#waiting = this.#waiting.filter((entry) => {
      const publishes = entry.command.type === 'publish';
      if (publishes && this.#alone) return true;
      this.#alone ||= publishes;
      this.#sent.set(send(entry.command), entry);
      return false;
    });
  }
}
