// A pod in memory: for the tests of applications, and for this package's own.
//
// Speaks what docs/PROTOCOL.md says, as far as the client uses it: joining, positions, recovery, retained values, publishing, history,
// presence, signals, what was read, tokens. Keeps every event and every key of a publish; never limits a rate, and thins no signals.

import type {
  Clock,
  Command,
  Dialing,
  Link,
  LinkEvents,
  Member,
  Message,
  Position,
  ReadRoom,
  Receipt,
  Transport,
} from './index.js';
import type { WireEvent } from './event.js';
import { bytesOf, payload } from './message.js';
import { platform } from './platform.js';

export { settled, TestClock } from './test_clock.js';

/** What a pod in memory is told when it is made. */
export interface TestPodOptions {
  /** Rooms that keep the newest value of each key; none unless told otherwise. */
  readonly retains?: (room: string) => boolean;
  /** Judges a token, and says whose it is; everything is let in unless told otherwise. */
  readonly accepts?: (token: string | undefined) => Accepted | undefined;
  /** The room of a user's own, which each of its connections is in unasked and by which it is told what was read; none unless told otherwise. */
  readonly ownRoom?: (user: string) => string;
  /** Rooms that may be joined; all unless told otherwise. */
  readonly allows?: (room: string) => boolean;
  /** The most bytes of a command: a longer one ends its connection with 1009. As long as they like unless told otherwise. */
  readonly maxMessageBytes?: number;
  /** The name of its transport; `websocket` unless told otherwise. */
  readonly name?: string;
  readonly clock?: Clock;
}

/** What a token is good for. */
export interface Accepted {
  readonly expiresAt?: number;
  readonly user?: string;
}

interface TestRoom {
  epoch: string;
  log: WireEvent[];
  /** Where events are that were published with a key. */
  keys: Map<string, Position>;
  /** How far each user has read. */
  read: Map<string, number>;
  /** Ends each signal that is shown, by its sender and topic. */
  shown: Map<string, { readonly by: TestConnection; end(): void }>;
}

interface TestConnection {
  readonly name: string;
  readonly on: LinkEvents;
  readonly rooms: Set<string>;
  token: string | undefined;
  user: string | undefined;
}

/** A pod in memory. Its `transport` is for a client's `transports`. */
export class TestPod {
  /** Whether it takes connections. */
  isUp = true;
  /** Every command that came, the oldest first. */
  readonly commands: Command[] = [];
  /** Changes, or holds back (`undefined`), what clients are told. */
  tamper: ((message: Message) => Message | undefined) | undefined;
  readonly transport: Transport;
  readonly #options: TestPodOptions;
  readonly #rooms = new Map<string, TestRoom>();
  readonly #connections = new Set<TestConnection>();
  #names = 0;
  #epochs = 0;

  constructor(options: TestPodOptions = {}) {
    this.#options = options;
    this.transport = {
      name: options.name ?? 'websocket',
      sends: true,
      isPossible: () => true,
      dial: (to, on) => this.#dial(to, on),
    };
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Publishes as a backend would. */
  publish(
    room: string,
    topic: string,
    data?: unknown,
    more: { key?: string; user?: string; id?: string } = {},
  ): Position {
    const { epoch, log } = this.#room(room);
    const offset = log.length + 1;
    const event = { offset, topic, time: this.#options.clock?.date() ?? Date.now(), ...more, ...payload(data) };
    log.push(event);
    this.#tellMembers(room, { type: 'events', room, epoch, after: offset - 1, offset, events: [event] });
    return { epoch, offset };
  }

  /** Ends every connection with a close code. */
  cut(code = 1006, reason = '', hint?: number): void {
    for (const connection of [...this.#connections]) {
      this.#leave(connection);
      connection.on.close(code, reason, hint);
    }
  }

  /** Loses a room's events, as a failover may: members get a `gap`, those that come back cannot recover. */
  forget(name: string): void {
    const room = this.#room(name);
    const after = room.log.length;
    Object.assign(room, { epoch: this.#epoch(), log: [], keys: new Map(), read: new Map() });
    this.#tellMembers(name, { type: 'gap', room: name, epoch: room.epoch, after, offset: 0 });
  }

  /** Says something to every client. */
  say(message: Message): void {
    for (const { on } of this.#connections) on.message(message);
  }

  #dial({ token }: Dialing, on: LinkEvents): Link {
    const connection: TestConnection = { name: `c${++this.#names}`, on, rooms: new Set(), token, user: undefined };
    let open = true;
    const later = (then: () => void) => void Promise.resolve().then(() => open && then());
    later(() => {
      if (!this.isUp) return on.close(1006, 'nothing listens');
      this.#connections.add(connection);
      const { maxMessageBytes: max } = this.#options;
      const limits = max === undefined ? {} : { limits: { max_message_bytes: max } };
      this.#tell(connection, { type: 'welcome', connection: connection.name, ping_interval: 25_000, ...limits });
    });
    return {
      send: (command) => later(() => this.#take(connection, command)),
      close: () => {
        open = false;
        this.#leave(connection);
      },
    };
  }

  #take(connection: TestConnection, command: Command): void {
    if (!this.#connections.has(connection)) return;
    const { maxMessageBytes = Infinity } = this.#options;
    if (new platform.TextEncoder().encode(JSON.stringify(command)).length > maxMessageBytes) {
      this.#leave(connection);
      return connection.on.close(1009, 'message too big');
    }
    this.commands.push(command);
    const answer = this.#answer(connection, command);
    if (!answer) return;
    this.#tell(connection, { ...answer, ...(command.id !== undefined && { id: command.id }) });
    const own = command.type === 'connect' && this.#ownRoom(connection.user);
    if (own) {
      connection.rooms.add(own);
      const { epoch, log } = this.#room(own);
      this.#tell(connection, { type: 'subscribed', room: own, epoch, offset: log.length, recovered: false });
    }
    if (answer.type === 'subscribed') this.#catchUp(connection, command, answer);
  }

  #answer(connection: TestConnection, { type, room: named, ...fields }: Command): Message | undefined {
    const name = String(named);
    const error = (code: string, message: string): Message => ({ type: 'error', code, message, room: name });
    switch (type) {
      case 'connect':
      case 'refresh': {
        const token = String(fields.token);
        const { accepts } = this.#options;
        const accepted: Accepted | undefined = accepts ? accepts(token) : {};
        if (!accepted) return { type: 'error', code: 'unauthorized', message: 'the token was refused' };
        connection.token = token;
        connection.user = accepted.user;
        return { type: 'done', ...(accepted.expiresAt !== undefined && { expires_at: accepted.expiresAt }) };
      }
      case 'ping':
        return { type: 'pong' };
      case 'unsubscribe':
        if (!connection.rooms.delete(name)) return error('not_subscribed', `not in ${name}`);
        this.#left(name, connection);
        return { type: 'unsubscribed', room: name };
      case 'subscribe': {
        if (this.#options.allows?.(name) === false) return error('forbidden', `this connection may not join ${name}`);
        const isOwn = name === this.#ownRoom(connection.user);
        if (connection.rooms.has(name) && !isOwn) return error('already_subscribed', `already subscribed to ${name}`);
        const { epoch, log } = this.#room(name);
        const since = fields.since as Position | undefined;
        const recovered = since?.epoch === epoch && since.offset <= log.length;
        return { type: 'subscribed', room: name, epoch, offset: recovered ? since.offset : log.length, recovered };
      }
      case 'publish': {
        const { topic, data, data64, key, event_id, idempotency_key } = fields as {
          [field in 'topic' | 'data64' | 'key' | 'event_id' | 'idempotency_key']?: string;
        } & { data?: unknown };
        const { keys } = this.#room(name);
        const known = keys.get(String(idempotency_key));
        if (known) return { type: 'published', ...known };
        const bytes = data64 === undefined ? data : bytesOf(data64);
        const { user } = connection;
        const more = {
          ...(key !== undefined && { key }),
          ...(user !== undefined && { user }),
          ...(event_id !== undefined && { id: event_id }),
        };
        const position = this.publish(name, String(topic), bytes, more);
        if (idempotency_key !== undefined) keys.set(idempotency_key, position);
        return { type: 'published', ...position };
      }
      case 'signal': {
        if (!connection.rooms.has(name)) return error('not_subscribed', `not in ${name}`);
        const { topic, data, ttl } = fields as { topic?: string; data?: unknown; ttl?: number };
        this.#signal(connection, name, String(topic), data, ttl);
        return { type: 'done' };
      }
      case 'ack':
        if (connection.user === undefined) return error('unauthorized', 'only users read');
        return this.#read(connection.user, name, fields as unknown as Partial<Position>, !!fields.delivered)
          ? { type: 'done' }
          : error('bad_position', `${name} has no such position`);
      case 'unread': {
        const { user } = connection;
        if (user === undefined) return { type: 'error', code: 'unauthorized', message: 'only users read' };
        const own = [...this.#rooms].flatMap(([room, { read }]) => (read.has(user) ? room : []));
        const all = new Set([...own, ...((fields.rooms as string[] | undefined) ?? [])]);
        return { type: 'unread', rooms: [...all].map((room) => this.#unread(user, room)) };
      }
      case 'history': {
        const { epoch, log } = this.#room(name);
        const after = (fields.since as Position | undefined)?.offset ?? 0;
        const events = log.slice(after, after + Number(fields.limit ?? 1_000));
        const offset = after + events.length;
        return { type: 'history', room: name, epoch, after, offset, complete: offset === log.length, events };
      }
      case 'presence': {
        const members = this.#members(name);
        return { type: 'presence', room: name, members, total: members.length };
      }
      default:
        return error('unknown_command', `there is no command "${type}"`);
    }
  }

  /** What follows `subscribed`: the events that were missed, or the values that the room keeps. */
  #catchUp(connection: TestConnection, { room: named }: Command, { epoch = '', offset = 0, recovered }: Message): void {
    const room = String(named);
    const { log } = this.#room(room);
    connection.rooms.add(room);
    this.#tellWho('joined', room, connection);
    if (recovered) {
      const events = log.slice(offset);
      if (events.length === 0) return;
      this.#tell(connection, { type: 'events', room, epoch, after: offset, offset: log.length, events });
    } else if (this.#options.retains?.(room)) {
      const newest = new Map(log.map((event) => [event.key, event]));
      const events = [...newest.values()];
      if (events.length > 0) this.#tell(connection, { type: 'events', room, epoch, retained: true, events });
    }
  }

  /** Shows a signal to all but its sender, until it ends. */
  #signal(by: TestConnection, room: string, topic: string, data: unknown, ttl = 5_000): void {
    const { shown } = this.#room(room);
    const { user, name } = by;
    const { clock } = this.#options;
    const sender = user === undefined ? { connection: name } : { user };
    const key = JSON.stringify([topic, sender]);
    const tell = (more: { readonly data?: unknown; readonly ttl: number }) => {
      const message = { type: 'signal', room, topic, ...sender, ...more, time: clock?.date() ?? Date.now() };
      for (const to of [...this.#connections]) {
        const isSender = to === by || (user !== undefined && to.user === user);
        if (to.rooms.has(room) && !isSender) this.#tell(to, message);
      }
    };
    const stop = clock?.after(ttl, () => shown.get(key)?.end());
    const end = () => {
      stop?.();
      shown.delete(key);
      tell({ ttl: 0 });
    };
    if (ttl === 0) return shown.get(key)?.end();
    shown.set(key, { by, end });
    tell({ ...(data !== undefined && { data }), ttl });
  }

  /** A user has read, or `onlyGot`, so far; whether the log has this position. Authors are told, and other devices of what was read. */
  #read(user: string, name: string, { epoch, offset = 0 }: Partial<Position>, onlyGot: boolean): boolean {
    const room = this.#room(name);
    if ((epoch ?? room.epoch) !== room.epoch || offset > room.log.length) return false;
    const before = room.read.get(user) ?? 0;
    if (offset <= before) return true;
    if (!onlyGot) {
      room.read.set(user, offset);
      this.#tellUser(user, { type: 'unread', rooms: [this.#unread(user, name)] });
    }
    const newest = new Map(room.log.slice(before, offset).map((event) => [event.user, event.offset ?? 0]));
    for (const [author, offset] of newest) {
      const told: Receipt[] = [{ room: name, epoch: room.epoch, offset, user }];
      const message = onlyGot ? { receipts: [], delivered: told } : { receipts: told };
      if (author !== undefined && author !== user) this.#tellUser(author, { type: 'receipts', ...message });
    }
    return true;
  }

  #unread(user: string, name: string): ReadRoom & { readonly unread: number } {
    const { epoch, log, read } = this.#room(name);
    const offset = read.get(user) ?? 0;
    return { room: name, epoch, offset, end: log.length, unread: log.length - offset };
  }

  #members(room: string): Member[] {
    return [...this.#connections].flatMap((one) => (one.rooms.has(room) ? [memberOf(one)] : []));
  }

  #left(room: string, connection: TestConnection): void {
    for (const { by, end } of [...this.#room(room).shown.values()]) if (by === connection) end();
    this.#tellWho('left', room, connection);
  }

  #tellWho(type: 'joined' | 'left', room: string, who: TestConnection): void {
    this.#tellMembers(room, { type, room, members: [memberOf(who)], total: this.#members(room).length });
  }

  #tellUser(user: string, message: Message): void {
    const own = this.#ownRoom(user);
    for (const connection of [...this.#connections]) {
      if (connection.user === user && (!own || connection.rooms.has(own))) this.#tell(connection, message);
    }
  }

  #ownRoom(user: string | undefined): string | undefined {
    return user === undefined ? undefined : this.#options.ownRoom?.(user);
  }

  #tellMembers(room: string, message: Message): void {
    for (const connection of [...this.#connections]) if (connection.rooms.has(room)) this.#tell(connection, message);
  }

  #tell({ on }: TestConnection, message: Message): void {
    const told = this.tamper ? this.tamper(message) : message;
    if (told) on.message(told);
  }

  #leave(connection: TestConnection): void {
    if (!this.#connections.delete(connection)) return;
    for (const room of connection.rooms) this.#left(room, connection);
  }

  #room(name: string): TestRoom {
    const known = this.#rooms.get(name);
    if (known) return known;
    const room: TestRoom = { epoch: this.#epoch(), log: [], keys: new Map(), read: new Map(), shown: new Map() };
    this.#rooms.set(name, room);
    return room;
  }

  #epoch(): string {
    return `epoch-${++this.#epochs}`;
  }
}

const memberOf = ({ name, user }: TestConnection): Member => ({
  connection: name,
  ...(user !== undefined && { user }),
});
