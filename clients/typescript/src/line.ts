// The way to the server: connects, comes back, moves over to a better transport.
//
//   idle ── dial ──▶ connecting ── welcome, token ──▶ open
//                     ▲      │ none opens             │ it ends
//                     │      ▼                        ▼
//                     └── waiting ◀───────────────────┘ ── never again ──▶ closed
//
// Owns the connection that there is, and tells the rooms of it. Always holds: what belonged to a connection that ended changes nothing any more; a
// connection comes back as its close code advises.

import type { Choice } from './choice.js';
import { advice, LOST, pause, UNAUTHORIZED } from './close_codes.js';
import { type Connection, connection as begin, type Surroundings } from './connection.js';
import { RoomcastError } from './error.js';
import type { Listeners } from './listeners.js';
import type { Limits, Message } from './message.js';
import { BEGUN_BEFORE, BEGUN_SINCE, BETTER_FIRST, BETTER_LAST, GOOD_AFTER, SHORT_LIVED } from './patience.js';
import type { Means } from './platform.js';
import { type Attempt, type Candidate, type Course, race, type Won } from './race.js';
import type { Room, RoomWire } from './room.js';
import { onWake } from './wake.js';

/** What the client does now. Times are milliseconds since 1970, UTC. */
export type ClientState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly since: number }
  | {
      readonly kind: 'open';
      readonly since: number;
      readonly transport: string;
      readonly endpoint: string;
      readonly connection: string;
      /** Whether it carries all commands, and not only those that join and leave rooms. */
      readonly sends: boolean;
      /** What the server takes, where it says so. */
      readonly limits: Limits | undefined;
    }
  | { readonly kind: 'waiting'; readonly until: number; readonly code: number; readonly reason: string }
  | { readonly kind: 'closed'; readonly error: RoomcastError | undefined };

export interface Line extends RoomWire {
  readonly state: ClientState;
  /** The last attempts to connect, the oldest first. */
  readonly attempts: readonly Attempt[];
  /** Connects anew; `isAnother`: as another user, so that it is `idle` for a moment, and what was of the one before is let go. */
  dial(isAnother?: boolean): void;
  wake(): void;
  /** Ends it: it does not come back by itself. Without an error, all subscriptions end too. */
  end(error?: RoomcastError): void;
}

export interface ClientNews {
  state: ClientState;
  /** What the server says that is of no room which is followed. */
  message: Message;
}

export function line(
  around: Surroundings & { readonly means: Means },
  choice: Choice,
  news: Listeners<ClientNews>,
  rooms: ReadonlyMap<string, Room>,
): Line {
  const { clock, credentials, report } = around;
  const attempts: Attempt[] = [];
  const given = new Set<string>();
  let state: ClientState = { kind: 'idle' };
  let connection: Connection | undefined;
  let failures = 0;
  /** Calls off what is under way: a race, a pause, a look for a better transport. */
  let stop: (() => void) | undefined;
  let stopWake: (() => void) | undefined;
  /** What the attempt under way is given before a wake begins it anew. */
  let patience = BEGUN_BEFORE;

  /** False: one that was told of it has done something else meanwhile. */
  const become = (next: ClientState) => {
    state = next;
    news.tell('state', next);
    return state === next;
  };
  /** Lets go of the connection, and of what leads to one. False: one that was told of it has done something else meanwhile. */
  const drop = () => {
    const before = state;
    patience = BEGUN_BEFORE;
    given.clear();
    stop?.();
    connection?.close();
    connection = undefined;
    for (const room of rooms.values()) room.away();
    return state === before;
  };
  const end = (error?: RoomcastError) => {
    drop();
    stopWake?.();
    stopWake = undefined;
    failures = 0;
    become({ kind: 'closed', error });
    for (const room of [...rooms.values()]) {
      for (const follower of [...room.followers]) {
        if (error) {
          follower.tell('error', error);
          follower.tell('change', room.state);
        } else follower.unsubscribe();
      }
    }
  };
  const ended: Course['failed'] = (code, reason, hint) => {
    const way = advice(code);
    if (state.kind === 'open') failures = Math.min(failures, clock.date() - state.since < GOOD_AFTER ? SHORT_LIVED : 0);
    // Of a connection that was open it may have been an older one that ended.
    else if (way === 'token') credentials.refused = credentials.token;
    if (!drop()) return;
    if (way === 'never') return end(new RoomcastError('closed', reason || `closed: ${code}`, { closeCode: code }));
    const wait = pause(code, failures++, clock.random, hint);
    stop = clock.after(wait, dial);
    become({ kind: 'waiting', until: clock.date() + wait, code, reason });
  };

  const course = (won: Course['won'], failed: Course['failed']): Course => ({
    ...around,
    token: credentials.token,
    note(attempt) {
      // The last ones are what `explain` tells of.
      if (attempts.push(attempt) > 30) attempts.shift();
    },
    won,
    failed,
  });
  const dial = (isAnother?: boolean) => {
    if (!drop() || (isAnother && !become({ kind: 'idle' }))) return;
    stopWake ??= onWake(wake);
    const mine: ClientState = { kind: 'connecting', since: clock.date() };
    become(mine);
    credentials.get().then(
      (token) => {
        if (state !== mine) return;
        if (token === credentials.refused) {
          return end(new RoomcastError('unauthorized', 'no token', { closeCode: UNAUTHORIZED }));
        }
        credentials.token = token;
        stop = race(choice.candidates(clock.date()), course(use, ended));
      },
      (error) => {
        if (state !== mine) return;
        report(error);
        ended(LOST, `no token: ${error}`);
      },
    );
  };
  const use = (won: Won) => {
    if (!drop()) return;
    const { candidate, welcome } = won;
    const open = () => {
      choice.remember(candidate, clock.date());
      become({
        kind: 'open',
        since: clock.date(),
        transport: candidate.transport.name,
        endpoint: candidate.endpoint,
        connection: welcome.connection ?? '',
        sends: candidate.transport.sends,
        limits: welcome.limits,
      });
      if (connection !== mine) return;
      look();
      for (const room of rooms.values()) room.settle();
    };
    const look = () => lookForBetter(candidate, BETTER_FIRST);
    const mine = begin(won, around, {
      open,
      ended,
      doubted: () => beside(choice.candidates(clock.date()), true, look),
      message(message, datagram) {
        const name = message.room as string;
        const room = rooms.get(name);
        if (message.type === 'unsubscribed') given.delete(name);
        // One that is joined is told of anew.
        if (message.type === 'subscribed' && room?.state !== 'joined') given.add(name);
        if (room) room.receive(message, datagram);
        else news.tell('message', message);
      },
    });
    connection = mine;
    return mine.start();
  };
  /** Tries ways beside the connection, and moves over: to a better one, or because it `isDoubted` whether the connection still is. */
  const beside = (ways: Candidate[], isDoubted: boolean, failed: () => void) => {
    stop?.();
    stop = race(
      ways,
      course((won) => {
        if (connection?.isSpare(isDoubted)) return use(won);
        failed();
        return undefined;
      }, failed),
    );
  };
  /** Now and then it tries whether a better transport works by now, and moves over to it. */
  const lookForBetter = (than: Won['candidate'], wait: number) => {
    const ways = choice.better(than);
    if (!ways[0]) return;
    stop?.();
    const again = () => lookForBetter(than, Math.min(2 * wait, BETTER_LAST));
    stop = clock.after(wait, () => beside(ways, false, again));
  };
  const wake = () => {
    const mine = state;
    const hurry = () => {
      if (state !== mine) return;
      // What failed may have failed for want of a network.
      failures = 0;
      dial();
      patience = BEGUN_SINCE;
    };
    if (connection) connection.wake();
    else if (mine.kind === 'connecting') clock.after(mine.since + patience - clock.date(), hurry);
    else if (mine.kind === 'waiting' && advice(mine.code) !== 'later') hurry();
  };

  return {
    get state() {
      return state;
    },
    attempts,
    given,
    dial,
    wake,
    end,
    ask: (command, answered) => connection?.ask(command, answered) ?? false,
    later: (failures, then) => clock.after(pause(LOST, failures + 2, clock.random), then),
  };
}
