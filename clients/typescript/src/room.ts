// A room as the connection knows it: whether it is joined, and how far its events came.
//
//            join              subscribed                     the connection ends
//   away ───────────▶ joining ───────────▶ joined      any ──────────────────────▶ away
//                        └── error, unsubscribed with a code ──▶ refused
//
// Without I/O: it takes messages and answers with commands. Always holds: the position moves only by what docs/PROTOCOL.md says
// ("Positions and recovery"); what is missing is told, never passed over.

import type { Answered } from './connection.js';
import { RoomcastError, type ServerErrorCode } from './error.js';
import type { Position, RoomEvent } from './event.js';
import type { Listeners } from './listeners.js';
import { eventOf, type Command, type Message } from './message.js';

/** Why an application has to load its state: it has joined, events are missing, or too many came while it loaded. */
export type Why = 'joined' | 'unrecovered' | 'gap' | 'overflow';

/** `away`: there is no connection now. */
export type RoomState = 'away' | 'joining' | 'joined' | 'refused';

/** One that follows a room. */
export interface Follower {
  /** Whether it was told where the room is. */
  started: boolean;
  /** Whether the values that the room keeps are news to it. */
  fresh: boolean;
  /** Whether it asks for these values when others have joined the room before it. */
  readonly retained: boolean;
  incomplete(why: Why, position: Position): void;
  events(events: readonly RoomEvent[], epoch: string | undefined): void;
  /** The room's state is another one. */
  changed(): void;
  unsubscribe(): void;
  readonly tell: Listeners<FollowerNews>['tell'];
}

/** What a follower may listen to. */
export interface FollowerNews {
  event: RoomEvent;
  /** What else the server says of the room: who comes and goes. */
  message: Message;
  change: RoomState | 'ended';
  error: RoomcastError;
}

/** What a room needs of its connection. */
export interface RoomWire {
  /** The rooms that the server joined unasked, like a user's own. They are not left: what is of no room comes by them. */
  readonly given: ReadonlySet<string>;
  /** Sends a command; false: there is no connection. */
  ask(command: Command, answered?: Answered): boolean;
  /** Calls `then` a little later, after that many failures. */
  later(failures: number, then: () => void): void;
}

/** Errors after which the same command may succeed. */
export const PASSING = ['unavailable', 'unknown', 'rate_limited'];

export class Room {
  readonly followers = new Set<Follower>();
  state: RoomState = 'away';
  declare position: Position | undefined;
  /** Why it is refused. */
  declare error: RoomcastError | undefined;
  readonly #wire: RoomWire;
  /** Stands for the `subscribe` that is not answered. */
  #asked: object | undefined;
  /** Whether it asks without its position, for the values that the room keeps. */
  #anew = false;
  #failures = 0;

  constructor(
    readonly name: string,
    wire: RoomWire,
  ) {
    this.#wire = wire;
  }

  /** Joins, from its position if it has one. `anew`: without it, for the values that the room keeps. */
  join(anew = false): void {
    if (this.state === 'joined') this.#leave();
    this.#anew = anew;
    const mine = {};
    this.#asked = mine;
    this.#wire.ask({ type: 'subscribe', room: this.name, since: anew ? undefined : this.position }, (answer) => {
      if (!answer || this.#asked !== mine) return;
      this.#asked = undefined;
      if (answer.type === 'subscribed') this.#subscribed(answer);
      else this.#refused(answer);
    });
    this.#become('joining');
  }

  leave(): void {
    if (this.state !== 'away' && !this.error && !this.#wire.given.has(this.name)) this.#leave();
    this.away();
  }

  /** The connection ended. A refusal stays. */
  away(): void {
    this.#asked = undefined;
    this.#failures = 0;
    if (!this.error) this.#become('away');
  }

  /** What refused it may allow it now. */
  forgive(): void {
    if (!this.error) return;
    this.error = undefined;
    this.away();
  }

  /** Joins, unless it has; begins with followers that have just come. `hasValues`: the values that the room keeps are on their way. */
  settle(hasValues = false): void {
    const { position } = this;
    if (this.state === 'away') this.join();
    if (this.state !== 'joined' || !position) return;
    const late = [...this.followers].filter(({ started }) => !started);
    if (!hasValues && late.some(({ retained }) => retained)) return this.join(true);
    for (const follower of late) {
      follower.started = true;
      follower.incomplete('joined', position);
    }
  }

  /** Takes a message that answers no command. */
  receive(message: Message, datagram?: boolean): void {
    // Until the answer to `subscribe`, everything else is superseded by it.
    if (this.state === 'away' || this.#asked) return;
    switch (message.type) {
      case 'subscribed':
        return this.#subscribed(message);
      case 'unsubscribed':
        return this.#refuse(message);
      case 'events':
        return this.#events(message, datagram);
      case 'gap':
        this.#move(message);
        for (const follower of [...this.followers]) this.#tell(follower, 'gap');
        return;
      default:
        for (const follower of [...this.followers]) follower.tell('message', message);
    }
  }

  #subscribed(message: Message): void {
    const before = this.position;
    this.#failures = 0;
    this.error = undefined;
    this.#move(message);
    // Or nothing came between leaving and joining again.
    const whole =
      before &&
      (message.recovered || (this.#anew && before.epoch === message.epoch && before.offset === message.offset));
    this.#become('joined');
    for (const follower of [...this.followers]) {
      follower.fresh = !whole || !follower.started;
      if (!whole) this.#tell(follower, 'unrecovered');
    }
    this.settle(!whole || this.#anew);
  }

  #refused(message: Message): void {
    const again = () => {
      if (this.state === 'joining' && !this.#asked) this.join(this.#anew);
    };
    if (message.code === 'already_subscribed') {
      this.#leave();
      again();
    } else if (PASSING.includes(message.code as string)) {
      this.#wire.later(this.#failures++, again);
    } else this.#refuse(message);
  }

  #refuse({ code, message }: Message): void {
    this.error = new RoomcastError(code as ServerErrorCode, message as string, { room: this.name });
    this.#become('refused');
  }

  #events(message: Message, datagram?: boolean): void {
    if (this.state !== 'joined') return;
    const { retained = false, epoch, after = 0, offset, events = [] } = message;
    const { position } = this;
    /** How far it is in this epoch. A new one that begins where it stands goes on: a first event's, or a new master's. */
    const known = epoch && position && (epoch === position.epoch || after === position.offset) ? position.offset : -1;
    if (!retained && offset !== undefined) {
      // Of another tab, or of a stream that was overtaken.
      if (offset <= known) return;
      // Or else a fault of the server: the position says what is missing.
      if (!datagram && after > known && position) return this.join();
      this.#move(message);
    }
    const news = events
      .filter(({ offset = Infinity }) => retained || offset > known)
      .map((event) => eventOf(event, retained));
    // One that has just come is told where the room is before it is told of anything else.
    for (const follower of [...this.followers]) {
      if (follower.started && (!retained || follower.fresh)) follower.events(news, epoch);
    }
  }

  #tell(follower: Follower, why: Why): void {
    // A room that keeps nothing has no position to load from, and says that something will not come.
    if (follower.started) follower.incomplete(why, this.position ?? { epoch: '', offset: 0 });
  }

  #move({ epoch, offset }: Message): void {
    if (epoch !== undefined && offset !== undefined) this.position = { epoch, offset };
  }

  #leave(): void {
    this.#wire.ask({ type: 'unsubscribe', room: this.name });
  }

  #become(state: RoomState): void {
    if (this.state === state) return;
    this.state = state;
    for (const follower of [...this.followers]) follower.changed();
  }
}
