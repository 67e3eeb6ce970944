// One connection, from its welcome to its end: commands with ids, the token, signs of life.
//
// Knows no rooms and never comes back. Always holds: it is over once, and nothing of it is told afterwards; a token is replaced before it
// ends; silence is asked about before it is taken for the end, so that a page that slept does not lose a good connection.

import { advice, LOST, OVERLOADED, pause, UNAUTHORIZED } from './close_codes.js';
import type { Clock } from './clock.js';
import { type Credentials, renewIn } from './credentials.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { Report } from './listeners.js';
import type { Command, Message } from './message.js';
import type { Won } from './race.js';

/** What a connection tells its client. */
export interface ConnectionEvents {
  /** The server has taken the token, if there is one. */
  open(): void;
  message(message: Message, datagram: boolean): void;
  ended(code: number, reason: string, hint: number | undefined): void;
}

/** How long the answer to a ping may take: after a silence, and after a network has come back. */
const PONG_WITHIN = 10_000;
const PONG_AFTER_WAKE = 4_000;
/** A backend that wants every user's rights looked at again asks all at the same time. */
const SPREAD = 1_000;

export class Connection {
  readonly #won: Won;
  readonly #clock: Clock;
  readonly #credentials: Credentials;
  readonly #report: Report;
  readonly #on: ConnectionEvents;
  #token: string | undefined;
  #ids = 0;
  /** The `connect` or `refresh` that is not answered. */
  #presented: { readonly id: number; readonly type: string; readonly token: string } | undefined;
  #renewals = 0;
  #heard: number;
  #goesAt: number | undefined;
  #over = false;
  #stopWatch = () => {};
  #stopRenewal = () => {};

  constructor(
    won: Won,
    token: string | undefined,
    credentials: Credentials,
    clock: Clock,
    report: Report,
    on: ConnectionEvents,
  ) {
    this.#won = won;
    this.#token = token;
    this.#credentials = credentials;
    this.#clock = clock;
    this.#report = report;
    this.#on = on;
    this.#heard = clock.now();
  }

  get won(): Won {
    return this.#won;
  }

  get token(): string | undefined {
    return this.#token;
  }

  start(): void {
    this.#won.take({
      message: (message, datagram = false) => this.#received(message, datagram),
      close: (code, reason, hint) => this.#end(code, reason, hint),
    });
    this.#watch();
    if (this.#token === undefined) this.#on.open();
    else this.#present('connect', this.#token);
  }

  /** Sends a command, and answers with its id. */
  readonly send = (command: Command): number => {
    const id = ++this.#ids;
    if (!this.#over) this.#won.link.send({ ...command, id });
    return id;
  };

  /** Ends it without a word to the client. */
  close(): void {
    this.#over = true;
    this.#stopWatch();
    this.#stopRenewal();
    this.#won.link.close();
  }

  /** The network, or the page, was away: asks at once whether the connection still is. */
  wake(): void {
    this.#ping(PONG_AFTER_WAKE);
  }

  #end(code: number, reason: string, hint?: number): void {
    if (this.#over) return;
    this.close();
    if (advice(code) === 'token') this.#credentials.refuse(this.#token);
    const named = advice(code) === 'later' && this.#goesAt !== undefined ? this.#goesAt - this.#clock.now() : undefined;
    this.#on.ended(code, reason, hint ?? named);
  }

  #received(message: Message, datagram: boolean): void {
    if (this.#over) return;
    this.#heard = this.#clock.now();
    const { type, id, after_ms } = message;
    if (id !== undefined && id === this.#presented?.id) this.#answered(message, this.#presented);
    else if (type === 'reconnect' && after_ms !== undefined) this.#goesAt = this.#heard + after_ms;
    else if (type === 'refresh') this.#renewAfter(this.#clock.random() * SPREAD);
    else this.#on.message(message, datagram);
  }

  #present(type: 'connect' | 'refresh', token: string): void {
    this.#presented = { id: this.send({ type, token }), type, token };
  }

  #answered(
    { type, code, message = '', expires_at }: Message,
    { type: asked, token }: { type: string; token: string },
  ): void {
    this.#presented = undefined;
    if (type !== 'error') {
      this.#token = token;
      this.#renewals = 0;
      if (expires_at !== undefined) this.#renewAfter(renewIn(expires_at, this.#clock.date()));
      if (asked === 'connect') this.#on.open();
    } else if (asked === 'connect') {
      this.#end(code === 'unauthorized' ? UNAUTHORIZED : OVERLOADED, message);
    } else {
      // The old one stays in force until it ends.
      this.#renewalFailed(new RoomcastError(code as ErrorCode, message));
    }
  }

  #renewAfter(ms: number): void {
    this.#stopRenewal();
    this.#stopRenewal = this.#clock.after(ms, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      const token = await this.#credentials.get();
      if (!this.#over && token !== undefined) this.#present('refresh', token);
    } catch (error) {
      if (!this.#over) this.#renewalFailed(error);
    }
  }

  #renewalFailed(error: unknown): void {
    this.#report(error);
    this.#renewAfter(SPREAD + pause(LOST, 2 + this.#renewals++, undefined, this.#clock.random));
  }

  /** A server's own pings are not seen in a browser. */
  #watch(): void {
    this.#stopWatch();
    const interval = this.#won.welcome.ping_interval;
    if (!interval) return;
    const left = this.#heard + interval - this.#clock.now();
    this.#stopWatch = this.#clock.after(left, () => {
      if (this.#clock.now() - this.#heard < interval) this.#watch();
      else this.#ping(PONG_WITHIN);
    });
  }

  #ping(within: number): void {
    this.#stopWatch();
    this.send({ type: 'ping' });
    const heard = this.#heard;
    this.#stopWatch = this.#clock.after(within, () => {
      if (this.#heard > heard) this.#watch();
      else this.#end(LOST, 'the server gives no sign of life');
    });
  }
}
