// One client in one room: connects, joins, checks what comes, and comes back when the connection is lost.
//
// Always holds: an event that neither comes nor is named by a gap is counted as a hole. A dialect reads the bytes; the publisher
// numbers its events of each room (`lib/publisher.js`), so that holes show in every dialect.

import { WebSocket } from 'k6/websockets';

import * as measures from './measures.js';
import { settings } from './settings.js';
import { tokenOf } from './token.js';
import { native } from './dialects/native.js';
import { socketio } from './dialects/socketio.js';
import { trips } from './dialects/trips.js';

const dialects = { native, socketio, trips };
const dialect = dialects[settings.dialect];

/** Pauses between attempts, milliseconds: they grow, and are shortened by chance. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5000;

export class Client {
  /** `name` is for the log. */
  constructor(name, room) {
    this.name = name;
    this.room = room;
    this.token = tokenOf(name);
    /** What the dialect keeps: positions, ids. */
    this.state = {};
    /** The last number of each publisher. */
    this.numbers = new Map();
    this.wanted = true;
    this.joined = false;
    this.attempts = 0;
    this.awaySince = null;
    this.hint = null;
  }

  /** Opens a connection; `onend` is called once, when the client is done. */
  open(onend) {
    this.onend = onend || this.onend;
    const began = Date.now();
    const params = settings.compression ? { compression: 'deflate' } : {};
    const { url, protocols, headers } = dialect.request(this);
    if (headers) params.headers = headers;
    const socket = new WebSocket(url, protocols || null, params);
    this.socket = socket;
    socket.onopen = () => {
      measures.connect.add(Date.now() - began);
      measures.opened.add(1);
      this.joinBegan = Date.now();
      this.say({ step: 'open' });
      dialect.open(this);
    };
    socket.onmessage = ({ data }) => {
      measures.messages.add(1);
      try {
        dialect.message(this, data);
      } catch (error) {
        this.error(`a message that is not understood (${error}): ${String(data).slice(0, 200)}`);
      }
    };
    socket.onerror = ({ error }) => this.failed(socket, error);
    socket.onclose = ({ code }) => this.closed(socket, code);
    return this;
  }

  send(text) {
    this.socket.send(text);
  }

  /** Ends it. */
  leave() {
    this.wanted = false;
    if (this.socket && this.socket.readyState <= 1) this.socket.close();
    else this.end();
  }

  /** Loses the connection, as if the network had gone. */
  drop() {
    if (this.socket?.readyState !== 1) return;
    this.dropping = true;
    this.socket.close();
  }

  /** The dialect has joined; `continues`: null without a position before, else whether exactly what was missed follows. */
  isIn(continues) {
    measures.join.add(Date.now() - this.joinBegan);
    if (continues !== null) measures.recovered.add(continues);
    if (continues === false) this.numbers.clear();
    if (this.awaySince !== null) {
      measures.away.add(Date.now() - this.awaySince);
      measures.returns.add(1);
    }
    this.awaySince = null;
    this.joined = true;
    this.attempts = 0;
    this.hint = null;
  }

  /** An event's data came. */
  event({ publisher, number, sent }) {
    measures.events.add(1);
    measures.delivery.add(Date.now() - sent);
    const last = this.numbers.get(publisher);
    if (last !== undefined && number <= last) measures.duplicates.add(1);
    else if (last !== undefined && number > last + 1) measures.holes.add(number - last - 1);
    if (last === undefined || number > last) this.numbers.set(publisher, number);
  }

  /** The server said that so many events will not come. */
  gap(count) {
    measures.gaps.add(count);
    this.numbers.clear();
  }

  /** The server named the moment after which to come back, milliseconds from now. */
  hinted(after) {
    this.hint = after;
    this.say({ step: 'reconnect', after });
  }

  error(message) {
    measures.errors.add(1);
    console.error(`${this.name}: ${message}`);
  }

  /** A step for the checker. */
  say(step) {
    if (settings.log) console.log(JSON.stringify({ at: Date.now(), client: this.name, room: this.room, ...step }));
  }

  /** Asks whether everything came, as far as the dialect can; then calls `done`. */
  settle(done) {
    if (!this.joined) {
      measures.complete.add(false);
      this.error('was not in its room at the end');
      return done();
    }
    dialect.settle(this, (complete) => {
      measures.complete.add(complete);
      if (!complete) this.error('did not have everything at the end');
      done();
    });
  }

  failed(socket, error) {
    if (socket !== this.socket || !this.wanted) return;
    this.say({ step: 'failed', error: String(error) });
    // The first attempt must succeed. Later ones are repeated, and `closed` counts a connection that stood.
    if (this.awaySince === null && !this.joined) this.error(`cannot connect: ${error}`);
    this.comeBack(socket);
  }

  closed(socket, code) {
    if (socket !== this.socket) return;
    this.say({ step: 'closed', code });
    if (!this.wanted) return this.end();
    if (!this.dropping) measures.lost.add(1);
    this.dropping = false;
    if (code === 4003 || code === 4029 || code === 1002 || code === 1003 || code === 1007 || code === 1009) {
      this.error(`closed with ${code}, which a client does not come back from`);
      return this.end();
    }
    this.comeBack(socket);
  }

  comeBack(socket) {
    if (socket !== this.socket || this.waiting) return;
    if (this.awaySince === null) this.awaySince = Date.now();
    this.joined = false;
    this.waiting = true;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.attempts) * (0.5 + Math.random() / 2);
    this.attempts += 1;
    setTimeout(
      () => {
        this.waiting = false;
        if (this.wanted) this.open();
        else this.end();
      },
      this.attempts === 1 ? pause / 2 : pause,
    );
  }

  end() {
    if (this.ended) return;
    this.ended = true;
    if (this.onend) this.onend();
  }
}
