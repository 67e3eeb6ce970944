// One connection for all tabs of an origin: one of them leads and has it, the others have a place in it.
//
// A transport around others, so that rooms, recovery and tokens are as ever: what a tab says goes by a BroadcastChannel to the tab that
// leads, and from there to the server. Web Locks say who leads, and which tabs are there: one that is closed or crashes lets go of its
// locks, and the next one leads. Always holds: no tab is told an event twice; one that may have missed something is told of the hole, and
// joins its room anew from where it is; each tab is told why the connection ended before another one is made.

import { LOST } from './close_codes.js';
import type { Dialing, Link, LinkEvents, Transport } from './link.js';
import type { Command, Message } from './message.js';
import { type ClientOptions, named } from './options.js';
import { type Channel, type Platform, platform } from './platform.js';

/** Tabs that have not taken in by then that the connection ended are not waited for, in milliseconds. */
const LET_GO_WITHIN = 1_000;

/** What a tab says to the one that leads: who it is, and a command unless it has just come. Nothing: another tab leads from now on. */
type Said = readonly [from?: string, command?: Command | undefined];

/** What a tab is told, by a channel of its own. */
type Told = { [Kind in keyof LinkEvents]: readonly [Kind, ...Parameters<LinkEvents[Kind]>] }[keyof LinkEvents];

/**
 * Transports over one connection of all tabs. `user` says whose it is: tabs share one where it is the same, and a token of another user is
 * refused. Where there are no Web Locks, each tab has its own. Long-polls are not shared, and neither is WebTransport: there is no order
 * between its streams, which tabs that join the same room would need.
 */
export function tabs(user = '', transports: ClientOptions['transports'] = ['websocket', 'poll']): Transport[] {
  const { navigator, BroadcastChannel } = platform as Platform & Required<Pick<Platform, 'BroadcastChannel'>>;
  const locks = navigator?.locks;
  const own = named(transports);
  if (!locks) return own;

  /** Has the connection, until it ends or no tab wants it. */
  const lead = (transport: Transport, name: string, to: Dialing, done: () => void) => {
    const channel = new BroadcastChannel<Said>(name);
    const inside = new Map<string, Channel<Told>>();
    /** The tabs that are in each room, one at least; the values that the room keeps are for the last one, which has just joined. */
    const rooms = new Map<unknown, string[]>();
    /** The welcome, and the rooms that the server joined unasked: for tabs that come later too. */
    const greeting = new Map<unknown, Message>();
    /** Rooms that are being joined, and what waits for that: the server refuses a join whose room is left before its answer. */
    const joining = new Map<unknown, (() => void)[]>();
    const answers = new Map<number | undefined, ((answer: Message) => void) | undefined>();
    let link: Link | undefined;
    let ids = 0;

    const tell = (tab: string, message: Message, datagram?: boolean) =>
      inside.get(tab)?.postMessage(['message', message, datagram]);
    const pass = (message: Message, datagram?: boolean) => {
      const members = rooms.get(message.room) ?? [];
      for (const tab of members.slice(message.retained ? -1 : 0)) tell(tab, message, datagram);
    };
    /** A tab is not in a room any more; answers which ones are. */
    const leave = (tab: string, room: unknown) => {
      const others = (rooms.get(room) ?? []).filter((other) => other !== tab);
      others[0] ? rooms.set(room, others) : rooms.delete(room);
      return others;
    };
    const events: LinkEvents = {
      message(message, datagram) {
        const { type, id, room } = message;
        const answered = answers.get(id);
        if (answers.delete(id)) answered?.(message);
        else if (room && type !== 'subscribed') {
          pass(message, datagram);
          if (type === 'unsubscribed') {
            greeting.delete(room);
            // What came before a join's answer is of the time before it.
            if (!joining.has(room)) rooms.delete(room);
          }
        } else {
          if (room || type === 'welcome') greeting.set(room, message);
          for (const tab of inside.keys()) tell(tab, message);
        }
      },
      close(...how) {
        rooms.clear();
        channel.close();
        for (const told of inside.values()) told.postMessage(['close', ...how]);
        // The next one leads when all have let go: they know why by then. One that hangs holds it up no longer.
        platform.setTimeout(done, LET_GO_WITHIN);
      },
    };
    const send = (command: Command, answered?: (answer: Message) => void) => {
      answers.set(++ids, answered);
      link?.send({ ...command, id: ids });
    };
    const take = (tab: string, said: Command) => {
      const { id, ...command } = said;
      const { type, room } = said as Message;
      const joins = type === 'subscribe';
      /** What is said of the room while it is being joined. */
      const next: (() => void)[] = [];
      const waiting = joining.get(room);
      if (waiting && (joins || type === 'unsubscribe')) return void waiting.push(() => take(tab, said));
      if (joins) {
        joining.set(room, next);
        const others = leave(tab, room);
        if (others[0] || greeting.has(room)) send({ type: 'unsubscribe', room });
        rooms.set(room, [...others, tab]);
      } else if (type === 'unsubscribe') {
        if (leave(tab, room)[0] || greeting.has(room)) return tell(tab, said);
      }
      send(command, (answer) => {
        tell(tab, { ...answer, id });
        // The others may have missed something while it was left, or are in it no more.
        const { epoch = '', offset = 0 } = answer;
        if (!joins) return;
        if (answer.type === 'error') leave(tab, room);
        pass({ type: 'events', room, epoch, after: offset, offset });
        joining.delete(room);
        for (const take of next) take();
      });
    };
    channel.onmessage = ({ data: [tab, command] }) => {
      if (command) return take(tab as string, command);
      if (!tab || inside.has(tab)) return;
      const told = new BroadcastChannel<Told>(tab);
      inside.set(tab, told);
      for (const message of greeting.values()) tell(tab, message);
      try {
        link ??= transport.dial(to, events);
      } catch (error) {
        events.close(LOST, `${error}`);
      }
      void locks.request(tab, () => {
        inside.delete(tab);
        told.close();
        // It may wait for a room that is being joined. A room that only others are in is not left.
        for (const room of rooms.keys()) take(tab, { type: 'unsubscribe', room });
        if (inside.size) return;
        channel.close();
        link?.close();
        done();
      });
    };
    channel.postMessage([]);
  };

  /** The place of a tab. */
  const attach = (transport: Transport, to: Dialing, on: LinkEvents): Link => {
    const name = `roomcast ${transport.name} ${to.endpoint} ${user}`;
    const from = `${name} ${Math.random()}`;
    const channel = new BroadcastChannel<Said>(name);
    const told = new BroadcastChannel<Told>(from);
    let isIn = false;
    let isOver = false;
    let release: (() => void) | undefined;
    const close = () => {
      isOver = true;
      channel.close();
      told.close();
      release?.();
    };
    const take = ([kind, ...of]: Told) => {
      isIn = true;
      if (kind === 'close') close();
      (on[kind] as (...of: unknown[]) => void)(...of);
    };
    const say = (command?: Command) => channel.postMessage([from, command]);
    told.onmessage = ({ data }) => take(data);
    channel.onmessage = ({ data: [other] }) => {
      if (!other) isIn ? take(['close', LOST, 'another tab leads']) : say();
    };
    // A lock that comes when it is over is let go at once.
    void locks.request(from, () => isOver || new Promise<void>((done) => ((release = done), say())));
    /** A tab that led, and has not been told why that is over, is ready to lead again. */
    const stand = () =>
      void locks.request(name, async () => {
        if (isOver) return;
        await new Promise<void>((done) => lead(transport, name, to, done));
        stand();
      });
    stand();
    return { send: say, close };
  };
  const isShared = ({ name, sends }: Transport) => sends && name !== 'webtransport' && name !== 'poll';
  return own.map((one) => (isShared(one) ? { ...one, dial: (to, on) => attach(one, to, on) } : one));
}
