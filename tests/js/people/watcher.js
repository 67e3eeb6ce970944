// A follower of many users that nobody cuts, over the native protocol, which says when each announcement was made. It comes back behind its positions
// when its pod ends, and lists nobody.

import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

import { token } from '../support/tokens.js';

export class Watcher {
  #positions = new Map();
  #going = true;

  constructor(name, users, way, record) {
    Object.assign(this, { name, users, way, record });
    this.rooms = users.map((user) => `presence:${user}`);
    this.token = token(name, { rooms: ['presence:*'] });
  }

  /** Follows until it is stopped; `joined` resolves when it is in all rooms. */
  begin() {
    this.joined = new Promise((all) => (this.allJoined = all));
    this.ended = this.#follow();
    return this.joined;
  }

  async #follow() {
    while (this.#going) {
      await this.#connection();
      await sleep(100);
    }
  }

  #connection() {
    const url = `ws://127.0.0.1:${this.way.port}/ws?token=${this.token}`;
    const ws = (this.ws = new WebSocket(url, ['roomcast.v1']));
    ws.on('open', () => {
      const rooms = this.rooms.map((room) => ({ room, since: this.#positions.get(room) }));
      ws.send(JSON.stringify({ type: 'subscribe', id: 1, rooms }));
    });
    ws.on('message', (text) => this.#take(JSON.parse(text)));
    ws.on('error', () => {});
    return new Promise((ended) => ws.once('close', ended));
  }

  #take(message) {
    const { type, room, epoch, offset, recovered, retained } = message;
    // Its own room, which it did not ask for.
    if (room?.startsWith('notification:')) return;
    if (type === 'subscribed') {
      if (this.#positions.has(room) && !recovered) this.record.trouble(`${this.name}: ${room} is not recovered`);
      if (!this.#positions.has(room)) this.#positions.set(room, { epoch, offset });
      if (this.#positions.size === this.rooms.length) this.allJoined();
    } else if (type === 'events' && !retained) {
      this.#positions.set(room, { epoch, offset });
      for (const { data, id, time, offset } of message.events) {
        this.record.tells(this.name, data.user, { status: data.status, id: Number(id), time, offset });
      }
    } else if (type === 'gap' || type === 'error') {
      this.record.trouble(`${this.name}: ${JSON.stringify(message)}`);
    }
  }

  async stop() {
    this.#going = false;
    this.ws?.terminate();
    await this.ended;
  }
}
