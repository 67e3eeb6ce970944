// A pod in memory: for the tests of applications, and for this package's own.
//
// Speaks what docs/PROTOCOL.md says, as far as the client uses it: joining, positions, recovery, retained values, publishing, deleting, history,
// presence, signals, what was read, a user's own status, calls, tokens. Keeps every event and every key of a publish; never limits a rate, and
// thins no signals.

import { systemClock } from './clock.js';
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
import { newestOf, pastOf, remove } from './test_log.js';
import type { Accepted, TestPodOptions } from './test_options.js';
import { platform } from './platform.js';

export { settled, TestClock } from './test_clock.js';
export type { Accepted, TestPodOptions } from './test_options.js';

interface TestRoom {
  epoch: string;
  log: WireEvent[];
  /** Where events are that were published with a key, and what they were. */
  keys: Map<string, Position & { readonly text: string }>;
  /** How far each user has read. */
  read: Map<string, number>;
  /** Ends each signal that is shown, by its sender and topic. */
  shown: Map<string, { readonly by: TestConnection; end(): void; stop(): void }>;
}

interface TestConnection {
  readonly name: string;
  readonly on: LinkEvents;
  readonly rooms: Set<string>;
  token: string | undefined;
  user: string | undefined;
}

const STATUSES = ['online', 'away', 'busy', 'offline'];

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
  readonly #clock: Clock;
  #names = 0;
  #epochs = 0;

  constructor(options: TestPodOptions = {}) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
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
    const event = { offset, topic, time: this.#clock.date(), ...more, ...payload(data) };
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
    const { accepts } = this.#options;
    const { type, id } = command;
    if (connection.token === undefined && !['connect', 'ping'].includes(type) && accepts && !accepts(undefined))
      return this.#tell(connection, { type: 'error', id, code: 'unauthorized', message: 'a token is needed first' });
    if (type === 'rpc') return void this.#call(connection, command);
    const answer = this.#answer(connection, command);
    if (!answer) return;
    this.#tell(connection, { ...answer, ...(command.id !== undefined && { id: command.id }) });
    const own = type === 'connect' && this.#ownRoom(connection.user);
    if (own && !connection.rooms.has(own)) {
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
        const text = JSON.stringify([topic, data, data64, key, event_id]);
        if (known && known.text !== text)
          return { type: 'error', code: 'conflict', message: 'the key belongs to another event' };
        if (known) return { type: 'published', epoch: known.epoch, offset: known.offset };
        const bytes = data64 === undefined ? data : bytesOf(data64);
        const { user } = connection;
        const more = {
          ...(key !== undefined && { key }),
          ...(user !== undefined && { user }),
          ...(event_id !== undefined && { id: event_id }),
        };
        const position = this.publish(name, String(topic), bytes, more);
        if (idempotency_key !== undefined) keys.set(idempotency_key, { ...position, text });
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
        const { since, limit } = fields as { since?: Position; limit?: number };
        return { type: 'history', room: name, ...pastOf(this.#room(name), since, limit) };
      }
      case 'delete': {
        const { user } = connection;
        const told = remove(this.#room(name), fields as Partial<Position>, user);
        if (typeof told === 'string') return error(told, 'no event that this connection may delete');
        if (told) this.publish(name, '$deleted', told.data, user === undefined ? {} : { user });
        return { type: 'done' };
      }
      case 'status': {
        const { user } = connection;
        const { status, hidden } = fields as { status?: string; hidden?: boolean };
        if (user === undefined) return { type: 'error', code: 'unauthorized', message: 'only users have a status' };
        if (hidden === undefined && !STATUSES.includes(String(status)))
          return { type: 'error', code: 'bad_request', message: `there is no status "${status}"` };
        if (status !== undefined) this.publish(`presence:${user}`, 'presence', { user, status });
        return { type: 'done' };
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
      const events = newestOf(this.#room(room));
      if (events.length > 0) this.#tell(connection, { type: 'events', room, epoch, retained: true, events });
    }
  }

  /** Hands a call to the application's server, and its answer back. */
  async #call(connection: TestConnection, { id, method, data, data64 }: Command): Promise<void> {
    const { calls } = this.#options;
    const said = data64 === undefined ? data : bytesOf(String(data64));
    let answer: Message = { type: 'error', code: 'not_available', message: 'no backend takes calls here' };
    try {
      const result = calls && (await calls(String(method), said, connection.user));
      if (calls) answer = { type: 'result', ...(result !== undefined && payload(result)) };
    } catch (error) {
      const { code = 'failed', message } = error as { code?: string; message?: string };
      answer = { type: 'error', code, message: message ?? String(error) };
    }
    if (this.#connections.has(connection)) this.#tell(connection, { ...answer, id });
  }

  /** Shows a signal to all but its sender, until it ends. */
  #signal(by: TestConnection, room: string, topic: string, data: unknown, ttl = 5_000): void {
    const { shown } = this.#room(room);
    const { user, name } = by;
    const sender = user === undefined ? { connection: name } : { user };
    const key = JSON.stringify([topic, sender]);
    const tell = (more: { readonly data?: unknown; readonly ttl: number }) => {
      const message = { type: 'signal', room, topic, ...sender, ...more, time: this.#clock.date() };
      for (const to of [...this.#connections]) {
        const isSender = to === by || (user !== undefined && to.user === user);
        if (to.rooms.has(room) && !isSender) this.#tell(to, message);
      }
    };
    const before = shown.get(key);
    if (ttl === 0) return before?.end();
    before?.stop();
    const end = () => {
      stop();
      shown.delete(key);
      tell({ ttl: 0 });
    };
    const stop = this.#clock.after(ttl, end);
    shown.set(key, { by, end, stop });
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
