// A device of a user: a WebSocket written from docs/PRESETS.md, that comes back by itself with its positions, and repeats what was not answered.
// It notes what it got; what that should have been is the checker's matter. Its client does nothing that the page does not say.

import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

/** How long an answer may take before the connection counts as broken. */
const PATIENCE = 20_000;

/** What is said again. */
const AGAIN = ['unavailable', 'unknown', 'rate_limited'];

export class Device {
  /** What it got of each channel, in the order in which it came. */
  channels = new Map();
  /** The newest badge of each channel, as its user sees it. */
  badges = new Map();
  #positions = {};
  #waiting = new Map();
  #ids = 0;
  #stays = false;

  /** `way()`: where it connects; `follows`: channels that it joins; `lie`: what it does not do as it should. */
  constructor({ name, token, way, follows, record, lie }) {
    Object.assign(this, { name, token, way, follows, record, lie });
  }

  /** Connects, and connects again, until it leaves. */
  async live() {
    this.#stays = true;
    for (let tries = 0; this.#stays; tries = this.wasOpen ? 0 : tries + 1) {
      await this.#connection();
      if (this.#stays) await sleep(50 + Math.random() * Math.min(1_000, 100 * 2 ** tries));
    }
  }

  get isOpen() {
    return this.open === true;
  }

  #connection() {
    const since = encodeURIComponent(new URLSearchParams(this.#positions));
    this.wasOpen = false;
    const ws = new WebSocket(`ws://127.0.0.1:${this.way().port}/ws?token=${this.token}&last_poll_id=${since}`, {
      handshakeTimeout: PATIENCE,
    });
    this.ws = ws;
    ws.on('message', (text) => this.#take(JSON.parse(text)));
    ws.on('error', () => {});
    return new Promise((ended) => {
      ws.once('close', (code) => {
        if (this.open) this.record.closed(this.name, code);
        this.open = false;
        ended();
      });
    });
  }

  /** It leaves, without a word as if its power were gone. */
  leave() {
    this.#stays = false;
    this.ws?.terminate();
  }

  /** Sends a message with an id, and again after each reconnect or refusal, until it is answered; resolves with the answer. */
  say(message, { sent = () => {} } = {}) {
    const id = message.id ?? `${this.name}-${++this.#ids}`;
    const text = JSON.stringify({ ...message, id });
    return new Promise((answered) => {
      this.#waiting.set(id, { text, answered, sent });
      this.#send(id);
    });
  }

  #send(id) {
    const { text, sent } = this.#waiting.get(id) ?? {};
    if (!text || !this.open) return;
    sent();
    this.ws.send(text);
  }

  /** So many of its messages have no answer yet. */
  get owed() {
    return this.#waiting.size;
  }

  #take(message) {
    const { type, event, id, channel } = message;
    if (type === 'system' && event === 'connected') this.#entered();
    if (event === 'subscribed') this.#joined(message);
    else if (event === 'gap') this.#note(channel).gaps.push(message.data.after, message.seq);
    else if (channel && message.seq !== undefined) this.#event(message);
    if (event === 'badge' && type === 'notification' && !channel) this.#badge(message);
    if (type === 'error' && id === undefined) this.record.trouble(`${this.name}: ${JSON.stringify(message)}`);
    // The id of an event is its publisher's.
    if (id !== undefined && (type === 'error' || !channel)) this.#answer(message);
  }

  #badge(message) {
    const { channel, unread, read_seq: read, seq: end } = message.data;
    this.badges.set(channel, { unread, read, end });
    this.record.badge(this.name, message);
  }

  #answer(message) {
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if (message.type === 'error' && AGAIN.includes(message.code)) {
      this.record.refused(message.code);
      setTimeout(() => this.#send(message.id), 500 + Math.random() * 500);
      return;
    }
    this.#waiting.delete(message.id);
    waiting.answered(message);
  }

  #entered() {
    this.open = this.wasOpen = true;
    this.record.opened(this.name);
    for (const channel of this.follows) {
      if (!this.#positions[channel]) this.ws.send(JSON.stringify({ type: 'subscribe', channel }));
    }
    for (const id of this.#waiting.keys()) this.#send(id);
    this.back?.();
  }

  #note(channel) {
    const known = this.channels.get(channel);
    if (known) return known;
    const note = { joined: null, got: [], gaps: [], unrecovered: [], wrong: [] };
    this.channels.set(channel, note);
    return note;
  }

  #joined({ seq, position, data: { channel, recovered } }) {
    const note = this.#note(channel);
    const had = Number(this.#positions[channel]?.split(':').at(-1));
    if (note.joined === null) note.joined = seq;
    else if (!recovered) note.unrecovered.push(seq);
    else if (seq !== had) note.wrong.push(`recovered at ${seq}, stood at ${had}`);
    this.#positions[channel] = position;
  }

  #event(message) {
    const { channel, seq, position, id, event, data } = message;
    const note = this.#note(channel);
    // What a room retains is shown and moves nothing.
    if (!position) return;
    this.#positions[channel] = position;
    const lie = this.lie?.(message, note);
    if (lie === 'drop') return;
    note.got.push([seq, channel.startsWith('presence:') ? event : id]);
    if (lie === 'repeat') note.got.push([seq, id]);
    if (lie === 'swap') note.got.push(note.got.splice(-2, 1)[0]);
    this.record.received(this.name, channel, seq, data);
  }
}
