// Several ways to a server, tried side by side: the first that a server welcomes wins, and the others are let go.
//
// Owns the links until one has won. Always holds: `done` is called once, unless the race was called off.

import { LOST } from './close_codes.js';
import type { Clock } from './clock.js';
import type { Link, LinkEvents, Transport } from './link.js';
import type { Message } from './message.js';
import type { Means } from './platform.js';

/** An attempt that no server has welcomed by then has failed. */
const WELCOME_WITHIN = 10_000;

/** A way to a server. */
export interface Candidate {
  readonly transport: Transport;
  readonly endpoint: string;
  /** Milliseconds for which those before it have the field to themselves, unless they fail. */
  readonly headStart: number;
}

/** What became of one attempt. */
export interface Attempt {
  readonly transport: string;
  readonly endpoint: string;
  /** When it began: milliseconds since 1970, UTC. */
  readonly at: number;
  /** How long it took, in milliseconds. */
  readonly took: number;
  /** The code with which it ended; none for the one that won. */
  readonly code?: number;
  readonly reason?: string;
}

export interface Won {
  readonly candidate: Candidate;
  readonly link: Link;
  readonly welcome: Message;
  /** From now on the link's events go here. */
  take(on: LinkEvents): void;
}

/** Why none has won: what the attempt said that knew most. */
export interface Failed {
  readonly code: number;
  readonly reason: string;
  readonly hint: number | undefined;
}

export interface Course {
  readonly clock: Clock;
  readonly means: Means;
  readonly token: string | undefined;
  /** Told of each attempt that ended. */
  note(attempt: Attempt): void;
  won(winner: Won): void;
  failed(failure: Failed): void;
}

/** Begins; what it answers calls it off. */
export function race(candidates: readonly Candidate[], course: Course): () => void {
  const { clock } = course;
  const waiting = [...candidates].sort((one, other) => one.headStart - other.headStart);
  const begun = clock.now();
  const running = new Set<() => void>();
  let failure: Failed = { code: LOST, reason: 'nothing here can connect', hint: undefined };
  let stopTimer = () => {};
  let over = false;

  const stop = () => {
    over = true;
    stopTimer();
    for (const letGo of running) letGo();
  };
  const next = () => {
    stopTimer();
    if (over) return;
    const [first] = waiting;
    if (first) {
      const wait = running.size > 0 ? first.headStart - (clock.now() - begun) : 0;
      if (wait > 0) {
        stopTimer = clock.after(wait, next);
        return;
      }
      waiting.shift();
      attempt(first);
      next();
    } else if (running.size === 0) {
      over = true;
      course.failed(failure);
    }
  };
  const attempt = (candidate: Candidate) => {
    const { transport, endpoint } = candidate;
    const [at, from] = [clock.date(), clock.now()];
    const note = (how: { code?: number; reason?: string }) =>
      course.note({ transport: transport.name, endpoint, at, took: clock.now() - from, ...how });
    let link: Link | undefined;
    let owner: LinkEvents | undefined;
    const letGo = () => {
      running.delete(letGo);
      stopLate();
      link?.close();
    };
    const ended = (code: number, reason: string, hint?: number) => {
      if (owner) return owner.close(code, reason, hint);
      if (over || !running.has(letGo)) return;
      running.delete(letGo);
      stopLate();
      note({ code, reason });
      if (code !== LOST || failure.code === LOST) failure = { code, reason, hint };
      next();
    };
    const stopLate = clock.after(WELCOME_WITHIN, () => {
      link?.close();
      ended(LOST, `no welcome within ${WELCOME_WITHIN} ms`);
    });
    running.add(letGo);
    try {
      link = transport.dial(
        { endpoint, token: course.token, means: course.means },
        {
          message(message, datagram) {
            if (owner) return owner.message(message, datagram);
            // WebTransport is asked for a sign of life to open, whose answer may overtake.
            if (over || !link || message.type !== 'welcome') return;
            running.delete(letGo);
            stopLate();
            stop();
            note({});
            const take = (on: LinkEvents) => {
              owner = on;
            };
            course.won({ candidate, link, welcome: message, take });
          },
          close: ended,
        },
      );
    } catch (error) {
      ended(LOST, String(error));
    }
  };
  next();
  return stop;
}
