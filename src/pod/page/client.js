// The connection: one WebSocket or WebTransport session at a time, the rooms that somebody wants to be in, and the position of each.
//
// Knows nothing of the page. Always holds: a position moves only by what docs/PROTOCOL.md says; a request is answered,
// refused or rejected with `lost`; a connection that ended comes back as its close code advises, never in a hurry.

import { advice, pause, reasonOf } from './close_codes.js';
import { Session, isPossible } from './transport.js';

/** What the pod still has to answer to a ping. */
const PONG_WITHIN = 10_000;
/** An attempt that has not opened by then has failed. */
const OPEN_WITHIN = 10_000;
/** Arrivals remembered while a publish is not answered yet, for its round trip; the oldest goes. */
const ARRIVALS = 2_048;

/** An error that a reply carried, or `lost` when the connection ended first. */
export class Refusal extends Error {
  constructor(code, message, room) {
    super(message);
    Object.assign(this, { code, room });
  }
}

class Room {
  status = 'joining';
  position = null;
  /** From presence: connection → user. `null`: the room keeps no list. */
  members = null;
  total = null;
  error = null;
  received = 0;
  lost = 0;
  /** Own events whose arrival is awaited, offset → when they were sent; bounded by what is in flight. */
  awaited = new Map();
  /** What arrived while a publish was not answered yet, offset → when. */
  arrivals = new Map();
  /** Publishes that are not answered yet. */
  publishing = 0;

  constructor(name) {
    this.name = name;
  }
}

export class Client {
  rooms = new Map();
  /** `kind`: idle, connecting, open, waiting (until `at`), ended. */
  state = { kind: 'idle' };
  welcome = null;
  tokenUntil = null;
  #socket = null;
  #token = '';
  #ids = 0;
  #waiting = new Map();
  #attempt = 0;
  #timer;
  #heard = 0;
  #goingAway;
  #everOpen = false;
  /** What was chosen: `websocket` or `webtransport`. */
  #wanted = 'websocket';

  /** `on` has a function for each of: state, room, events, gap, note, roundTrip. */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    setInterval(() => this.#watch(), 1_000);
    addEventListener('online', () => this.state.kind === 'waiting' && this.connect());
  }

  get extensions() {
    return this.#socket?.extensions ?? '';
  }

  /** What it connects over. */
  get transport() {
    return this.#wanted;
  }

  get inFlight() {
    return this.#waiting.size;
  }

  /** Connects now, whatever it waited for. */
  connect() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#become({ kind: 'connecting', again: this.#attempt > 0 });
    if (this.#wanted === 'webtransport') this.#connectSession();
    else this.#connectSocket();
  }

  /** Chooses what to connect over, and does. */
  over(transport) {
    this.#wanted = transport;
    this.#attempt = 0;
    this.connect();
  }

  #connectSocket() {
    try {
      this.#take(new WebSocket(this.url, 'roomcast.v1'));
    } catch (error) {
      this.#become({ kind: 'ended', reason: error.message });
    }
  }

  /** A session; where none opens, a WebSocket instead, from then on. */
  async #connectSession() {
    const began = this.state;
    try {
      if (!isPossible()) throw new Error('this browser has no WebTransport');
      const { port, hashes } = await (await fetch('/certificate-hashes', { cache: 'no-store' })).json();
      if (port === null) throw new Error('this pod has no WebTransport');
      // No name that could mean ::1 first: browsers do not try the other address.
      const host = location.hostname === 'localhost' ? '127.0.0.1' : location.hostname;
      if (this.state !== began) return;
      this.#take(new Session(`https://${host}:${port}/wt`, hashes));
    } catch ({ message }) {
      if (this.state === began) this.#fallBack(message);
    }
  }

  #fallBack(why) {
    this.#wanted = 'websocket';
    this.on.note({ kind: 'warning', text: `No WebTransport session opens (${why}): a WebSocket instead.` });
    this.#connectSocket();
  }

  #take(socket) {
    this.#socket = socket;
    const late = setTimeout(() => this.#ended(socket, 1006), OPEN_WITHIN);
    socket.onopen = () => (clearTimeout(late), this.#opened(socket));
    socket.onmessage = ({ data, datagram }) => socket === this.#socket && this.#received(data, datagram);
    socket.onclose = ({ code, reason }) => (clearTimeout(late), this.#ended(socket, code, reason));
  }

  disconnect() {
    clearTimeout(this.#timer);
    this.#drop(1000);
    this.#become({ kind: 'ended', reason: 'you disconnected', code: 1000 });
  }

  /** Presents another token: in band where there was one, else with a new connection. Empty: none. */
  async present(token) {
    const refresh = this.state.kind === 'open' && this.#token && token;
    this.#token = token;
    if (!refresh) {
      this.#attempt = 0;
      this.connect();
      return;
    }
    const { expires_at } = await this.request({ type: 'refresh', token });
    this.tokenUntil = expires_at ?? null;
    this.#become({ ...this.state });
  }

  /** The reply to a command; a [`Refusal`] if it is an error. `raw` is JSON text that becomes its `data` as it is. */
  request(command, raw) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new Refusal('lost', 'there is no connection'));
    }
    const id = ++this.#ids;
    let text = JSON.stringify({ ...command, id });
    if (raw !== undefined) text = `${text.slice(0, -1)},"data":${raw}}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(text);
    });
  }

  subscribe(name) {
    let room = this.rooms.get(name);
    if (room && room.status !== 'refused') return room;
    room = new Room(name);
    this.rooms.set(name, room);
    this.on.room(room);
    if (this.state.kind === 'open') this.#join(room);
    return room;
  }

  unsubscribe(name) {
    const room = this.rooms.get(name);
    if (!room) return;
    this.rooms.delete(name);
    this.on.room(room, 'left');
    if (room.status !== 'refused') this.request({ type: 'unsubscribe', room: name }).catch(() => {});
  }

  /** Publishes JSON text. Resolves with the position; the round trip is told by `on.roundTrip` when the event is here. */
  async publish({ room: name, topic, key, data }) {
    const room = this.rooms.get(name);
    const sent = performance.now();
    if (room) room.publishing += 1;
    try {
      const reply = await this.request({ type: 'publish', room: name, topic, ...(key && { key }) }, data);
      if (room?.status === 'joined') this.#match(room, reply.offset, sent);
      return reply;
    } finally {
      if (room && --room.publishing === 0) room.arrivals.clear();
    }
  }

  /** The event of a publish may be here before its answer, or after it. */
  #match(room, offset, sent) {
    const arrived = room.arrivals.get(offset);
    if (arrived !== undefined) this.on.roundTrip(room, offset, arrived - sent);
    else if (room.position && offset > room.position.offset) room.awaited.set(offset, sent);
  }

  async #opened(socket) {
    this.#heard = performance.now();
    if (this.#token) {
      try {
        const { expires_at } = await this.request({ type: 'connect', token: this.#token });
        this.tokenUntil = expires_at ?? null;
      } catch (error) {
        if (error.code === 'lost') return;
        this.on.note({ kind: 'error', text: `The token was refused: ${error.message}`, about: 'token' });
      }
      if (socket !== this.#socket) return;
    }
    this.#become({ kind: 'open', since: performance.now() });
    for (const room of this.rooms.values()) if (room.status !== 'refused') this.#join(room);
  }

  async #join(room) {
    room.status = 'joining';
    this.on.room(room);
    const { epoch, offset } = room.position ?? {};
    try {
      await this.request({ type: 'subscribe', room: room.name, ...(room.position && { since: { epoch, offset } }) });
    } catch ({ code, message }) {
      if (code === 'lost' || this.rooms.get(room.name) !== room) return;
      Object.assign(room, { status: 'refused', error: { code, message } });
      this.on.room(room);
      return;
    }
    this.#present(room);
  }

  /** Asks who is in a room. Many rooms do not say. */
  async #present(room) {
    const list = await this.request({ type: 'presence', room: room.name }).catch(() => null);
    if (!list) return;
    room.members = new Map(list.members?.map(({ connection, user }) => [connection, user]));
    room.total = list.total;
    this.on.room(room);
  }

  #received(text, datagram) {
    const at = performance.now();
    this.#heard = at;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.on.note({ kind: 'error', text: 'The pod sent something that is not JSON.' });
      return;
    }
    const room = this.rooms.get(message.room);
    this.#apply(message, room, text, at, datagram);
    const waiting = message.id !== undefined && this.#waiting.get(message.id);
    if (!waiting) {
      if (message.type === 'error') this.on.note({ kind: 'error', text: `${message.code}: ${message.message}` });
      return;
    }
    this.#waiting.delete(message.id);
    if (message.type === 'error') waiting.reject(new Refusal(message.code, message.message, message.room));
    else waiting.resolve(message);
  }

  /** What a message changes, whether or not it answers something. */
  #apply(message, room, text, at, datagram) {
    switch (message.type) {
      case 'welcome':
        this.welcome = message;
        this.#attempt = 0;
        this.#everOpen = true;
        this.#become({ ...this.state });
        break;
      case 'reconnect':
        this.#goingAway = at + message.after_ms;
        this.on.note({ kind: 'warning', text: 'The pod is going away; this page will reconnect by itself.' });
        break;
      case 'subscribed':
        // Without an id: the server put the connection into the room by itself.
        if (room && (message.id !== undefined || room.status !== 'joining')) this.#subscribed(room, message);
        else if (!room && message.id === undefined) this.#given(message);
        break;
      case 'events':
        // Before the answer to `subscribe`, what comes for a room that the server gave is superseded.
        if (room?.status === 'joined') this.#events(room, message, text, at, datagram);
        break;
      case 'gap':
        if (room?.status !== 'joined') break;
        // Without an epoch: events that were in no log, and nobody counted.
        if (message.epoch !== undefined) {
          room.lost += Math.max(0, message.offset - message.after);
          this.#move(room, message);
        }
        this.on.gap(room, message);
        break;
      case 'unsubscribed':
        if (!room || !message.code) break;
        Object.assign(room, { status: 'refused', error: { code: message.code, message: 'taken out of the room' } });
        this.on.room(room);
        break;
      case 'joined':
      case 'left':
      case 'presence':
        if (room && message.id === undefined) this.#presence(room, message);
        break;
    }
  }

  /** A room that the server gave: a personal one. */
  #given(message) {
    const room = new Room(message.room);
    this.rooms.set(room.name, room);
    this.#subscribed(room, message);
    this.#present(room);
  }

  #subscribed(room, { epoch, offset, recovered }) {
    const before = room.position;
    Object.assign(room, { status: 'joined', error: null, position: { epoch, offset } });
    this.on.room(room, before === null ? 'joined' : recovered ? 'recovered' : 'reset');
  }

  #events(room, message, text, at, datagram) {
    // Datagrams overtake each other and get lost: only what is newer counts, and a hole is none.
    if (datagram && message.epoch === room.position?.epoch && message.offset <= room.position.offset) return;
    if (!message.retained && message.epoch !== undefined) {
      if (!datagram && room.position && message.after !== room.position.offset) {
        const holes = `expected what follows ${room.position.offset}, got what follows ${message.after}`;
        this.on.note({ kind: 'error', text: `${room.name}: ${holes}. Joining again.` });
        this.request({ type: 'unsubscribe', room: room.name }).then(
          () => this.#join(room),
          () => {},
        );
        return;
      }
      this.#move(room, message);
      room.received += message.events.length;
      for (const { offset } of message.events) this.#arrived(room, offset, at);
      // Conflated away: they will not come.
      for (const offset of room.awaited.keys()) if (offset <= message.offset) room.awaited.delete(offset);
    }
    this.on.events(room, message, new Blob([text]).size, at);
  }

  #arrived(room, offset, at) {
    const sent = room.awaited.get(offset);
    if (sent !== undefined) {
      room.awaited.delete(offset);
      queueMicrotask(() => this.on.roundTrip(room, offset, at - sent));
    } else if (room.publishing > 0) {
      room.arrivals.set(offset, at);
      if (room.arrivals.size > ARRIVALS) room.arrivals.delete(room.arrivals.keys().next().value);
    }
  }

  #move(room, { epoch, offset }) {
    room.position = { epoch, offset };
  }

  #presence(room, { type, members, total }) {
    // A whole list takes the place of one that a large room's changes were not told of.
    if (type === 'presence' && members) room.members?.clear();
    room.members ??= new Map();
    for (const { connection, user } of members ?? []) {
      if (type === 'left') room.members.delete(connection);
      else room.members.set(connection, user);
    }
    room.total = total;
    this.on.room(room);
  }

  #ended(socket, code, reason) {
    if (socket !== this.#socket) return;
    const unopened = socket instanceof Session && this.state.kind === 'connecting' && code === 1006;
    this.#drop();
    if (unopened) return this.#fallBack('it was refused, or UDP does not get through');
    const why = reasonOf(code, reason);
    const way = advice(code);
    if (way === 'never' || way === 'token') {
      this.#become({ kind: 'ended', code, reason: why, token: way === 'token' });
      return;
    }
    const after = this.#goingAway === undefined ? undefined : this.#goingAway - performance.now();
    const wait = pause(code, this.#attempt, after);
    this.#goingAway = undefined;
    this.#attempt += 1;
    this.#become({ kind: 'waiting', code, reason: why, at: performance.now() + wait, never: !this.#everOpen });
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  /** Forgets the socket; whoever waits for a reply on it is told. */
  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code);
    }
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Refusal('lost', 'the connection ended before the answer came'));
    for (const room of this.rooms.values()) {
      room.awaited.clear();
      if (room.status === 'joined') room.status = 'away';
    }
    this.welcome = null;
    this.tokenUntil = null;
  }

  #become(state) {
    this.state = state;
    this.on.state(state);
  }

  /** The pod's pings are invisible here: silence for too long is asked about, then taken for the end. */
  #watch() {
    const interval = this.welcome?.ping_interval;
    if (!interval || this.state.kind !== 'open') return;
    const silence = performance.now() - this.#heard;
    if (silence > interval + PONG_WITHIN) this.#ended(this.#socket, 1006);
    else if (silence > interval) this.request({ type: 'ping' }).catch(() => {});
  }
}
