// What the application asks of the server, and what of it waits for a connection.
//
// Bounded: what finds it full is refused with `queue_full`. Always holds: a command that may not be carried out twice is sent once;
// if its answer is lost, the outcome is `unknown`. What waited is sent in its order, a publish at a time, so that a rate limit cannot
// turn two of them around.

import { onAbort } from './abort.js';
import type { Clock } from './clock.js';
import type { Connection } from './connection.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { Command, Message } from './message.js';
import type { Signal } from './platform.js';

export interface RequestOptions {
  /** Without a connection that can carry it: wait for one (`queue`, the default), or `fail`. */
  readonly offline?: 'queue' | 'fail' | undefined;
  /** Calls it off. What was sent already may be carried out nevertheless. */
  readonly signal?: Signal | undefined;
}

interface Entry {
  readonly command: Command;
  resolve(message: Message): void;
  reject(error: RoomcastError): void;
}

/** Carried out twice, they change nothing. */
const REPEATABLE = ['history', 'presence', 'stats', 'ping', 'ack'];
const RATE_PAUSE = 1_000;

export class Outbox {
  readonly #clock: Clock;
  readonly #most: number;
  #waiting: Entry[] = [];
  #ask: Connection['ask'] | undefined;
  #unsafe = 0;
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
    return this.#unsafe > 0;
  }

  request(command: Command, { offline, signal }: RequestOptions = {}): Promise<Message> {
    return new Promise((resolve, reject) => {
      const entry = { command, resolve, reject };
      const stop = onAbort(signal, (error) => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(error);
      });
      entry.resolve = (message) => (stop(), resolve(message));
      entry.reject = (error) => (stop(), reject(error));
      const inOrder = command.type === 'publish' && (this.#waiting[0] || this.#alone);
      if (signal?.aborted) return;
      if (this.#ask && !inOrder) this.#go(this.#ask, entry);
      else if (!this.#ask && offline === 'fail')
        entry.reject(new RoomcastError('lost', 'there is no connection that carries it'));
      else if (this.waiting < this.#most) this.#waiting.push(entry);
      else entry.reject(new RoomcastError('queue_full', `${this.#most} commands wait already`));
    });
  }

  /** There is a connection that carries everything. */
  opened(ask: Connection['ask']): void {
    this.#ask = ask;
    this.#drain();
  }

  /** The connection ends: nothing is sent before the next one. */
  lost(): void {
    this.#ask = undefined;
    this.#alone = false;
    this.#endPause();
  }

  /** Nothing comes any more. */
  close(error: RoomcastError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #drain(): void {
    const ask = this.#ask;
    if (!ask) return;
    this.#waiting = this.#waiting.filter((entry) => {
      const publishes = entry.command.type === 'publish';
      if (publishes && this.#alone) return true;
      this.#alone ||= publishes;
      this.#go(ask, entry, publishes);
      return false;
    });
  }

  #go(ask: Connection['ask'], entry: Entry, alone = false): void {
    const { command, resolve, reject } = entry;
    const unsafe = !REPEATABLE.includes(command.type);
    if (unsafe) this.#unsafe += 1;
    ask(command, (answer) => {
      if (unsafe) this.#unsafe -= 1;
      const { type, code, message = '', room } = answer ?? {};
      const next = () => {
        if (alone) this.#alone = false;
        if (alone) this.#drain();
      };
      if (alone && code === 'rate_limited') {
        // The server did not carry it out.
        this.#waiting.unshift(entry);
        this.#endPause = this.#clock.after(RATE_PAUSE, next);
        return;
      }
      if (!answer && unsafe) reject(new RoomcastError('unknown', 'the connection ended before the answer came'));
      else if (!answer) this.#waiting.unshift(entry);
      else if (type === 'error') reject(new RoomcastError(code as ErrorCode, message, { room }));
      else resolve(answer);
      if (answer) next();
    });
  }
}
