// One connection, from its welcome to its end: commands and their answers, the token, signs of life.
//
// Knows no rooms and never comes back. Always holds: it is over once, and nothing of it is told afterwards but that answers will not
// come; a token is replaced before it ends; silence is asked about before it is taken for the end, so that a page that slept does not
// lose a good connection.

import { advice, DENIED, LOST, OVERLOADED, pause, UNAUTHORIZED } from './close_codes.js';
import type { Clock } from './clock.js';
import { type Credentials, renewIn } from './credentials.js';
import { type ErrorCode, RoomcastError } from './error.js';
import type { LinkEvents } from './link.js';
import type { Report } from './listeners.js';
import type { Command, Message } from './message.js';
import { DOUBTED_AFTER, PONG_AFTER_WAKE, PONG_WITHIN, SPREAD } from './patience.js';
import type { Won } from './race.js';
import { PASSING } from './room.js';

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
  message(message: Message, datagram?: boolean): void;
  ended: LinkEvents['close'];
  /** It was woken, and gives no sign of life yet: it may be dead, or slow. */
  doubted(): void;
}

export interface Connection {
  /** Begins, with the token that the credentials present. The link's events go to what it answers. */
  start(): LinkEvents;
  /** Whether another one may take its place: no answer would be lost; or, `isDoubted`, it has said nothing since it was asked for a sign of life. */
  isSpare(isDoubted: boolean): boolean;
  /** Sends a command, unless it is over: then it answers false. */
  ask(command: Command, answered?: Answered): boolean;
  /** The network, or the page, was away: asks at once whether the connection still is. */
  wake(): void;
  /** Ends it without a word to the client, but to those that wait for answers. */
  close(): void;
}

export function connection(
  { link, welcome }: Won,
  { clock, credentials, report }: Surroundings,
  { open, message: told, ended, doubted }: ConnectionEvents,
): Connection {
  const waiting = new Map<number | undefined, Answered | undefined>();
  let ids = 0;
  let renewals = 0;
  let heard = clock.now();
  let isSilent = true;
  /** It was woken, and what it hears may have come before that: until a pong, nothing is a sign of life. */
  let isDeaf = false;
  let goesAt: number | undefined;
  let over = false;
  let stopWatch: (() => void) | undefined;
  let stopRenewal: (() => void) | undefined;

  const ask = (command: Command, answered?: Answered) => {
    if (!over) {
      waiting.set(++ids, answered);
      link.send({ ...command, id: ids });
    }
    return !over;
  };
  const close = () => {
    if (over) return;
    over = true;
    stopWatch?.();
    stopRenewal?.();
    link.close();
    for (const answered of waiting.values()) answered?.(undefined);
  };
  const end: LinkEvents['close'] = (code, reason, hint) => {
    if (over) return;
    close();
    ended(code, reason, hint ?? (goesAt && advice(code) === 'later' ? goesAt - clock.now() : undefined));
  };

  /** A newer token counts from now on: the answer may never come, and the next connection would present one that has ended. */
  const present = (token: string, opens?: () => void) => {
    const { token: before } = credentials;
    credentials.token = token;
    ask({ type: opens ? 'connect' : 'refresh', token }, (answer) => {
      if (!answer) return;
      const { code, message, expires_at } = answer;
      if (answer.type !== 'error') {
        renewals = 0;
        if (expires_at) renewAfter(renewIn(expires_at, clock.date()));
        opens?.();
      } else if (opens)
        end(
          code === 'unauthorized' ? UNAUTHORIZED : PASSING.includes(code as string) ? OVERLOADED : DENIED,
          message as string,
        );
      // The old one stays in force until it ends.
      else {
        credentials.token = before;
        renewalFailed(new RoomcastError(code as ErrorCode, message as string));
      }
    });
  };
  const renewAfter = (ms: number) => {
    stopRenewal?.();
    stopRenewal = clock.after(ms, () =>
      credentials.get().then(
        (token) => over || (token && present(token)),
        (error) => over || renewalFailed(error),
      ),
    );
  };
  const renewalFailed = (error: unknown) => {
    report(error);
    renewAfter(SPREAD + pause(LOST, 2 + renewals++, clock.random));
  };

  const unlessHeard = (ms: number, then: () => void) => {
    stopWatch?.();
    isSilent = true;
    stopWatch = clock.after(ms, () => (isSilent ? then() : watch()));
  };
  /** A server's own pings are not seen in a browser. */
  const watch = () => {
    const { ping_interval: interval } = welcome;
    if (interval) unlessHeard(heard + interval - clock.now(), () => ping(PONG_WITHIN));
  };
  const isLost = () => end(LOST, 'no sign of life');
  const ping = (within: number, then = isLost) => {
    unlessHeard(within, then);
    ask({ type: 'ping' }, () => {
      isSilent = isDeaf = false;
    });
  };

  return {
    isSpare: (isDoubted) => (isDoubted ? isSilent : !waiting.size),
    ask,
    close,
    wake() {
      isDeaf = true;
      ping(DOUBTED_AFTER, () => {
        unlessHeard(PONG_AFTER_WAKE, isLost);
        doubted();
      });
    },
    start() {
      const { token } = credentials;
      watch();
      if (token) {
        present(token, open);
        // It is asked for a sign of life sooner than later on.
        unlessHeard(PONG_WITHIN, () => ping(PONG_WITHIN));
      } else open();
      return {
        close: end,
        message(message, datagram) {
          if (over) return;
          heard = clock.now();
          const { type, id, after_ms } = message;
          isSilent &&= isDeaf;
          const answered = waiting.get(id);
          if (waiting.delete(id)) answered?.(message);
          else if (type === 'reconnect') goesAt = heard + (after_ms as number);
          else if (type === 'refresh') renewAfter(clock.random() * SPREAD);
          else if (id === undefined) told(message, datagram);
        },
      };
    },
  };
}
