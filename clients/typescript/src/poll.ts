// Long-polls as a link, where nothing but plain HTTP passes.
//
// Plays a connection: it answers the commands that join and leave rooms itself, and sends all others beside the polls, in their order.
// Signals are for members alone, which polls are not. Always holds: each poll says how far the last ones came, so that a poll which was
// cut short loses nothing; a command is sent when the rooms that were asked for before it are joined; a request has a limit of time, and
// none outlives the link.

import { LOST, OVERLOADED, UNAUTHORIZED } from './close_codes.js';
import type { Position } from './event.js';
import type { Dialing, Link, LinkEvents } from './link.js';
import type { Command, Message } from './message.js';
import { type Answer, type Fetch, type Platform, platform } from './platform.js';

/** A request that was not answered by then is lost: a server answers a poll in 30 s, with or without news. */
const ANSWERED_WITHIN = 75_000;
/** Commands are answered at once, but for calls of the backend. */
const CARRIED_OUT_WITHIN = 15_000;
/** A server that could not continue a room says so at once: one that waits for news has taken it up. */
const TAKEN_UP_WITHIN = 1_000;
/** Of commands so many go together, and characters of them: a server takes 64, and 64 KiB. */
const MOST_SENT = 64;
const MOST_TEXT = 20_000;
/** Their answers are long: each has a request of its own. */
const ALONE = ['history', 'presence', 'unread'];

export const dial = (to: Dialing, on: LinkEvents): Link => new Polls(to, on);

/** Calls off a request. */
type Cut = InstanceType<Platform['AbortController']>;

interface PolledRoom {
  /** Of the `subscribe` that is not answered yet. */
  id: number | undefined;
  since: Position | undefined;
}

interface PollAnswer {
  readonly messages?: readonly Message[];
  readonly close?: { code: number; reason: string };
  readonly error?: { code: string; message: string };
}

/** When a token ends, as it says itself: a server tells connections only. `NaN`, or nothing: it does not say. */
function endOf(token: string): number | undefined {
  try {
    const [, claims = ''] = token.split('.');
    return 1_000 * JSON.parse(platform.atob(claims.replace(/-/g, '+').replace(/_/g, '/'))).exp;
  } catch {
    return undefined;
  }
}

class Polls implements Link {
  readonly #to: Dialing;
  readonly #on: LinkEvents;
  readonly #rooms = new Map<string, PolledRoom>();
  #token: string | undefined;
  #over = false;
  #changing = false;
  #sending = false;
  readonly #unsent: Command[] = [];
  /** Calls off the poll that waits. */
  #abort: (() => void) | undefined;
  /** Each request that is under way. */
  readonly #running = new Set<Cut>();

  constructor(to: Dialing, on: LinkEvents) {
    this.#to = to;
    this.#on = on;
    this.#token = to.token;
    void this.#open();
  }

  send(command: Command): void {
    const { type, id, room, since, token } = command;
    const reply = (message: Message) => platform.queueMicrotask(() => this.#over || this.#on.message(message));
    if (type === 'subscribe') {
      this.#rooms.set(room as string, { id, since: since as Position | undefined });
      this.#changed();
    } else if (type === 'unsubscribe') {
      this.#rooms.delete(room as string);
      this.#changed();
      reply({ type, id });
    } else if (type === 'ping') {
      // The poll that waits may wait for ever.
      this.#changed();
      void this.#get([]).then(
        () => reply({ type: 'pong', id }),
        (error) => this.#end(LOST, String(error)),
      );
    } else if (token) {
      this.#token = token as string;
      reply({ type: 'done', id, expires_at: endOf(this.#token) });
      // The poll that waits ends with the older one.
      this.#changed();
    } else if (type === 'signal') {
      reply({ type: 'error', id, code: 'not_subscribed', message: 'long-polls carry no signals' });
    } else {
      this.#unsent.push(command);
      platform.queueMicrotask(() => void this.#post());
    }
  }

  close(): void {
    this.#over = true;
    for (const cut of this.#running) cut.abort();
  }

  #end(code: number, reason: string, hint?: number): void {
    if (this.#over) return;
    this.close();
    this.#on.close(code, reason, hint);
  }

  /** A poll for no room tells whether there is a server, and what it thinks of the token. */
  async #open(): Promise<void> {
    try {
      const { answer, body } = await this.#get([]);
      if (!answer.ok && answer.status !== 400) return this.#refused(answer, body);
      if (this.#over) return;
      this.#on.message({ type: 'welcome' });
      this.#take(body.messages ?? []);
    } catch (error) {
      this.#end(LOST, String(error));
    }
  }

  /** The poll that waits names other rooms than those that are wanted: the next one begins now. */
  #changed(): void {
    if (this.#changing) return;
    this.#changing = true;
    platform.queueMicrotask(() => {
      this.#changing = false;
      this.#abort?.();
      void this.#run();
      void this.#post();
    });
  }

  async #run(): Promise<void> {
    let current = true;
    while (!this.#over && current && this.#rooms.size > 0) {
      const cut = new platform.AbortController();
      this.#abort = () => {
        current = false;
        cut.abort();
      };
      const taken = platform.setTimeout(() => this.#takenUp(), TAKEN_UP_WITHIN);
      try {
        const { answer, body } = await this.#get([...this.#rooms], cut);
        if (!current) return;
        if (answer.ok) {
          this.#take(body.messages ?? []);
          if (body.close) this.#end(body.close.code, body.close.reason);
        } else {
          await this.#refused(answer, body);
        }
      } catch (error) {
        if (current) this.#end(LOST, String(error));
      } finally {
        platform.clearTimeout(taken);
      }
    }
  }

  /** Sends what waits, a request after the other. */
  async #post(): Promise<void> {
    const mayGo = () => this.#unsent[0] && ![...this.#rooms.values()].some(({ id }) => id !== undefined);
    if (this.#sending) return;
    this.#sending = true;
    while (!this.#over && mayGo()) {
      const commands = this.#together();
      try {
        const { answer, body } = await this.#fetch(
          '/send',
          { method: 'POST', body: JSON.stringify(commands) },
          commands.some(({ type }) => type === 'rpc') ? ANSWERED_WITHIN : CARRIED_OUT_WITHIN,
        );
        const { messages = commands.map(({ id }) => ({ type: 'error', id, ...body.error })), error } = body;
        // Refused for what they are, or for their number: the polls go on.
        if (answer.ok || (error && ![401, 503].includes(answer.status))) this.#tell(messages);
        else await this.#refused(answer, body);
      } catch (error) {
        this.#end(LOST, String(error));
      }
    }
    this.#sending = false;
  }

  #together(): Command[] {
    let text = 0;
    const end = this.#unsent.findIndex((command, at) => {
      text += JSON.stringify(command).length;
      return at > 0 && (at === MOST_SENT || text > MOST_TEXT || ALONE.includes(command.type));
    });
    return this.#unsent.splice(0, end < 0 ? MOST_SENT : end);
  }

  #tell(messages: readonly Message[]): void {
    for (const message of messages) if (!this.#over) this.#on.message(message);
  }

  async #get(rooms: [string, PolledRoom][], cut?: Cut): Promise<{ answer: Answer; body: PollAnswer }> {
    const query = rooms.map(([room, { since }]) => {
      const from = since ? `&since=${encodeURIComponent(`${since.epoch}:${since.offset}`)}` : '';
      return `room=${encodeURIComponent(room)}${from}`;
    });
    return this.#fetch(`/poll?${query.join('&')}`, {}, undefined, cut);
  }

  async #fetch(
    path: string,
    request: Parameters<Fetch>[1],
    within = ANSWERED_WITHIN,
    cut: Cut = new platform.AbortController(),
  ): Promise<{ answer: Answer; body: PollAnswer }> {
    const { endpoint, means } = this.#to;
    const fetch = means.fetch as Fetch;
    this.#running.add(cut);
    if (this.#over) cut.abort();
    const late = platform.setTimeout(() => this.#end(LOST, 'no answer'), within);
    try {
      const answer = await fetch(`${endpoint}${path}`, {
        ...request,
        cache: 'no-store',
        credentials: 'include',
        headers: this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` },
        signal: cut.signal,
      });
      const body = (await answer.json().catch(() => ({}))) as PollAnswer;
      // A page to sign in to a network, or a firewall, speaks for no pod.
      if (!body.messages && !body.error && ![429, 503].includes(answer.status))
        throw new Error(`HTTP status ${answer.status}, not from a pod`);
      return { answer, body };
    } finally {
      platform.clearTimeout(late);
      this.#running.delete(cut);
    }
  }

  #take(messages: readonly Message[]): void {
    for (const message of messages) {
      if (this.#over) return;
      const { type, room: name = '', epoch, offset } = message;
      const room = this.#rooms.get(name);
      const moved = epoch !== undefined && offset !== undefined ? { epoch, offset } : room?.since;
      if (type !== 'subscribed') {
        if (room) room.since = moved;
        this.#on.message(message);
      } else if (!room) {
        // The user's own room. From now on it is asked for like any other, so that it continues.
        this.#rooms.set(name, { id: undefined, since: moved });
        this.#on.message(message);
      } else if (room.id !== undefined || !message.recovered) {
        const { id } = room;
        Object.assign(room, { id: undefined, since: moved });
        this.#on.message({ ...message, id });
      }
    }
    void this.#post();
  }

  /** Rooms that continue, and have no news yet. If the answer says otherwise after all, it counts. */
  #takenUp(): void {
    for (const [room, { id, since }] of this.#rooms) {
      if (id !== undefined && since) this.#take([{ type: 'subscribed', room, recovered: true, ...since }]);
    }
  }

  async #refused({ status, headers }: Answer, { error }: PollAnswer): Promise<void> {
    const reason = error?.message ?? `HTTP status ${status}`;
    const wait = Number(headers.get('retry-after'));
    if (status === 401) this.#end(UNAUTHORIZED, reason);
    else if (status === 429 || status === 503) this.#end(OVERLOADED, reason, wait > 0 ? wait * 1_000 : undefined);
    else if (this.#rooms.size > 0 && error) await this.#refuseRooms(reason);
    else this.#end(status === 403 ? 1008 : LOST, reason);
  }

  /** A poll is refused as a whole: each room that is not joined yet, or else each, is asked for alone. */
  async #refuseRooms(message: string): Promise<void> {
    const joining = [...this.#rooms].filter(([, { id }]) => id !== undefined);
    const suspects = joining.length > 0 ? joining : [...this.#rooms];
    let settled = false;
    for (const [room, entry] of suspects) {
      // Without a position the answer comes at once.
      const { error } = (await this.#get([[room, { id: undefined, since: undefined }]])).body;
      const isGone = this.#rooms.get(room) !== entry;
      settled ||= isGone || error !== undefined;
      if (!error || isGone) continue;
      this.#rooms.delete(room);
      const { id } = entry;
      this.#on.message({ type: id === undefined ? 'unsubscribed' : 'error', id, room, ...error });
    }
    void this.#post();
    if (!settled) this.#end(OVERLOADED, message);
  }
}
