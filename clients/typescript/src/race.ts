// Several ways to a server, tried side by side: the first that a server welcomes wins, and the others are let go.
//
// Owns the links until one has won. Always holds: `won` or `failed` is called once, unless the race was called off.

import { LOST } from './close_codes.js';
import type { Clock } from './clock.js';
import type { Link, LinkEvents, Transport } from './link.js';
import type { Message } from './message.js';
import { WELCOME_WITHIN } from './patience.js';
import { type Means, platform } from './platform.js';

/** A way to a server. */
export interface Candidate {
  readonly transport: Transport;
  readonly endpoint: string;
  /** The more, the later it starts: in milliseconds after the first one, unless all before it have failed. */
  readonly after: number;
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
  readonly code?: number | undefined;
  readonly reason?: string | undefined;
}

export interface Won {
  readonly candidate: Candidate;
  readonly link: Link;
  readonly welcome: Message;
}

export interface Course {
  readonly clock: Clock;
  readonly means: Means;
  readonly token: string | undefined;
  /** Told of each attempt that ended. */
  note(attempt: Attempt): void;
  /** What it answers is told of the link's events from now on; without an answer the link is let go. */
  won(winner: Won): LinkEvents | undefined;
  /** Told why none has won: what the attempt said that knew most. */
  failed: LinkEvents['close'];
}

/** Begins, and takes the candidates over; what it answers calls it off. */
export function race(waiting: Candidate[], course: Course): () => void {
  const { clock, means, token } = course;
  waiting.sort((one, other) => one.after - other.after);
  const begun = clock.now() - (waiting[0]?.after ?? 0);
  /** Lets go of each attempt that is under way. */
  const running = new Set<() => void>();
  let failure: Parameters<LinkEvents['close']> = [LOST, 'no transport'];
  let stopTimer: (() => void) | undefined;
  let over = false;

  const stop = () => {
    over = true;
    stopTimer?.();
    for (const letGo of running) letGo();
  };
  const next = () => {
    stopTimer?.();
    if (over) return;
    const [first] = waiting;
    const wait = first && running.size ? first.after - (clock.now() - begun) : 0;
    if (wait > 0) {
      stopTimer = clock.after(wait, next);
    } else if (first) {
      waiting.shift();
      attempt(first);
      next();
    } else if (!running.size) {
      over = true;
      course.failed(...failure);
    }
  };
  const attempt = (candidate: Candidate) => {
    const { transport, endpoint } = candidate;
    const from = clock.now();
    let link: Link | undefined;
    const letGo = () => {
      stopLate();
      running.delete(letGo);
      link?.close();
    };
    const note = (code?: number, reason?: string) => {
      const took = clock.now() - from;
      course.note({ transport: transport.name, endpoint, at: clock.date() - took, took, code, reason });
    };
    let on: LinkEvents = {
      message(welcome) {
        // WebTransport is asked for a sign of life to open, whose answer may overtake.
        if (!running.has(letGo) || !link || welcome.type !== 'welcome') return;
        stopLate();
        running.delete(letGo);
        stop();
        note();
        const taker = course.won({ candidate, link, welcome });
        if (taker) on = taker;
        else link.close();
      },
      close(code, reason, hint) {
        if (!running.has(letGo)) return;
        letGo();
        note(code, reason);
        if (code !== LOST || failure[0] === LOST) failure = [code, reason, hint];
        next();
      },
    };
    const stopLate = clock.after(WELCOME_WITHIN, () => on.close(LOST, 'no welcome'));
    running.add(letGo);
    try {
      link = transport.dial(
        { endpoint, token, means },
        {
          message: (message, datagram) => on.message(message, datagram),
          close: (...how) => on.close(...how),
        },
      );
    } catch (error) {
      on.close(LOST, `${error}`);
    }
  };
  // What fails at once is told once the caller can call this off, and what follows from it.
  platform.queueMicrotask(next);
  return stop;
}
