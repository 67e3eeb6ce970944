// One connection, from its welcome to its end: commands and their answers, the token, signs of life.
//
// Knows no rooms and never comes back. Always holds: it is over once, and nothing of it is told afterwards but that answers will not
// come; a token is replaced before it ends; silence is asked about before it is taken for the end, so that a page that slept does not
// lose a good connection.

import { advice, LOST, OVERLOADED, pause, UNAUTHORIZED } from './close_codes.js';
import type { Clock } from './clock.js';
import { type Credentials, renewIn } from './credentials.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { Report } from './listeners.js';
import type { Command, Message } from './message.js';
import type { Won } from './race.js';

/** Takes the answer to a command; `undefined`: the connection ended first. */
export type Answered = (answer: Message | undefined) => void;

/** What all connections of a client share. */
export interface Surroundings {
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly report: Report;
}

/** What a connection tells its client. */
export interface ConnectionEvents {
  /** The server has taken the token, if there is one. */
  open(): void;
  /** A message that answers no command. */
  message(message: Message, datagram: boolean): void;
  ended(code: number, reason: string, hint: number | undefined): void;
}

/** How long the answer to a ping may take: after a silence, and after a network has come back. */
const PONG_WITHIN = 10_000;
const PONG_AFTER_WAKE = 4_000;
/** A backend that wants every user's rights looked at again asks all at the same time. */
const SPREAD = 1_000;

export class Connection {
  readonly won: Won;
  token: string | undefined;
  readonly #around: Surroundings;
  readonly #on: ConnectionEvents;
  readonly #waiting = new Map<number | undefined, Answered>();
  #ids = 0;
  #renewals = 0;
  #heard = 0;
  #goesAt: number | undefined;
  #over = false;
  #stopWatch = () => {};
  #stopRenewal = () => {};

  constructor(won: Won, token: string | undefined, around: Surroundings, on: ConnectionEvents) {
    this.won = won;
    this.token = token;
    this.#around = around;
    this.#on = on;
  }

  start(): void {
    this.won.take({
      message: (message, datagram = false) => this.#received(message, datagram),
      close: (code, reason, hint) => this.#end(code, reason, hint),
    });
    this.#heard = this.#around.clock.now();
    this.#watch();
    if (this.token === undefined) this.#on.open();
    else this.#present('connect', this.token);
  }

  /** Sends a command. */
  readonly ask = (command: Command, answered: Answered = () => {}): void => {
    if (this.#over) return;
    const id = ++this.#ids;
    this.#waiting.set(id, answered);
    this.won.link.send({ ...command, id });
  };

  /** Ends it without a word to the client, but to those that wait for answers. */
  close(): void {
    this.#over = true;
    this.#stopWatch();
    this.#stopRenewal();
    this.won.link.close();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const answered of waiting) answered(undefined);
  }

  /** The network, or the page, was away: asks at once whether the connection still is. */
  wake(): void {
    this.#ping(PONG_AFTER_WAKE);
  }

  #end(code: number, reason: string, hint?: number): void {
    if (this.#over) return;
    const { clock, credentials } = this.#around;
    const way = advice(code);
    if (way === 'token') credentials.refuse(this.token);
    const named = way === 'later' && this.#goesAt ? this.#goesAt - clock.now() : undefined;
    this.close();
    this.#on.ended(code, reason, hint ?? named);
  }

  #received(message: Message, datagram: boolean): void {
    if (this.#over) return;
    const { clock } = this.#around;
    this.#heard = clock.now();
    const { type, id, after_ms } = message;
    const answered = this.#waiting.get(id);
    if (answered) {
      this.#waiting.delete(id);
      answered(message);
    } else if (type === 'reconnect') this.#goesAt = this.#heard + (after_ms ?? 0);
    else if (type === 'refresh') this.#renewAfter(clock.random() * SPREAD);
    else if (id === undefined) this.#on.message(message, datagram);
  }

  #present(type: 'connect' | 'refresh', token: string): void {
    this.ask({ type, token }, (answer) => {
      if (!answer) return;
      const { code, message = '', expires_at } = answer;
      if (answer.type !== 'error') {
        this.token = token;
        this.#renewals = 0;
        if (expires_at) this.#renewAfter(renewIn(expires_at, this.#around.clock.date()));
        if (type === 'connect') this.#on.open();
      } else if (type === 'connect') this.#end(code === 'unauthorized' ? UNAUTHORIZED : OVERLOADED, message);
      // The old one stays in force until it ends.
      else this.#renewalFailed(new RoomcastError(code as ErrorCode, message));
    });
  }

  #renewAfter(ms: number): void {
    this.#stopRenewal();
    this.#stopRenewal = this.#around.clock.after(ms, () => {
      this.#around.credentials.get().then(
        (token) => token !== undefined && this.#present('refresh', token),
        (error) => this.#over || this.#renewalFailed(error),
      );
    });
  }

  #renewalFailed(error: unknown): void {
    const { clock, report } = this.#around;
    report(error);
    this.#renewAfter(SPREAD + pause(LOST, 2 + this.#renewals++, undefined, clock.random));
  }

  /** A server's own pings are not seen in a browser. */
  #watch(): void {
    const interval = this.won.welcome.ping_interval;
    if (!interval) return;
    const { clock } = this.#around;
    this.#stopWatch();
    this.#stopWatch = clock.after(this.#heard + interval - clock.now(), () => {
      if (clock.now() - this.#heard < interval) this.#watch();
      else this.#ping(PONG_WITHIN);
    });
  }

  #ping(within: number): void {
    this.#stopWatch();
    const heard = this.#heard;
    this.ask({ type: 'ping' });
    this.#stopWatch = this.#around.clock.after(within, () => {
      if (this.#heard > heard) this.#watch();
      else this.#end(LOST, 'the server gives no sign of life');
    });
  }
}
