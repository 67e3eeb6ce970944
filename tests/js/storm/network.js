// A way to a pod, with weather: bytes that come late, that are held, that are lost; connections that are cut; transports that are blocked.
//
// Knows bytes and connections, and of HTTP only the path that a connection begins with. Always holds: what passes, passes in its order;
// a connection that has lost bytes never gets a later one, because its stream is no stream any more.

import { connect, createServer } from 'node:net';

/** What a connection carries, by its first line. */
const kindOf = (text) => (/^GET \/ws[ ?]/.test(text) ? 'websocket' : 'poll');

/** One direction of a connection. */
class Stream {
  #way;
  #to;
  #waiting = [];
  #last = 0;
  #timer;
  #isBroken = false;

  constructor(way, to) {
    this.#way = way;
    this.#to = to;
  }

  /** Nothing comes through any more, and nothing says so. */
  break() {
    this.#isBroken = true;
    this.#waiting = [];
  }

  /** Takes a chunk in; `null` is the end. */
  push(chunk, isLost) {
    this.#isBroken ||= isLost;
    if (this.#isBroken) return;
    const now = performance.now();
    this.#last = Math.max(this.#last, now + Math.random() * this.#way.delay);
    this.#waiting.push({ chunk, due: this.#last });
    this.pump();
  }

  pump() {
    if (this.#timer || this.#way.isHeld) return;
    for (const now = performance.now(); this.#waiting[0]?.due <= now; ) {
      const { chunk } = this.#waiting.shift();
      if (this.#to.destroyed) continue;
      if (chunk) this.#to.write(chunk);
      else this.#to.end();
    }
    const [next] = this.#waiting;
    if (!next) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.pump();
    }, next.due - performance.now());
  }
}

/** A way begins at so many ports, each of them a network of its own: of a part of the clients. */
export const NETWORKS = 10;

/** A way to one pod. */
export class Way {
  /** Bytes come up to so many milliseconds late, each direction in its order. */
  delay = 0;
  /** `up`, to the pod, or `down`: what is sent there is lost from now on, on connections that are there. */
  lost = { up: false, down: false };
  /** Transports that do not get through: `websocket`, `poll`. */
  blocked = new Set();
  /** So many of the networks are there, the first ones: of the others, what comes is refused. */
  there = NETWORKS;
  isHeld = false;
  /** When connections were begun, by `performance.now()`, those that were refused too. */
  attempts = [];
  #connections = new Set();

  constructor(port) {
    this.pod = port;
  }

  async listen() {
    this.urls = await Promise.all(Array.from({ length: NETWORKS }, (_, network) => this.#begin(network)));
    return this;
  }

  async #begin(network) {
    const server = createServer({ noDelay: true }, (client) => this.#take(client, network));
    await new Promise((listening, failed) => server.once('error', failed).listen(0, '127.0.0.1', listening));
    return `http://127.0.0.1:${server.address().port}`;
  }

  #take(client, network) {
    this.attempts.push(performance.now());
    client.on('error', () => client.destroy());
    const isGone = () => network >= this.there;
    if (isGone()) return client.destroy();
    client.once('data', (first) => {
      const kind = kindOf(first.toString('latin1', 0, 8));
      if (isGone() || this.blocked.has(kind)) return client.destroy();
      this.#join(client, kind, first);
    });
  }

  #join(client, kind, first) {
    const pod = connect({ port: this.pod, host: '127.0.0.1', noDelay: true });
    const [up, down] = [new Stream(this, pod), new Stream(this, client)];
    const connection = { client, pod, kind, up, down };
    this.#connections.add(connection);
    up.push(first, this.lost.up);
    for (const [from, to, stream, direction] of [
      [client, pod, up, 'up'],
      [pod, client, down, 'down'],
    ]) {
      from.on('data', (chunk) => stream.push(chunk, this.lost[direction]));
      from.on('end', () => stream.push(null, this.lost[direction]));
      from.on('error', () => from.destroy());
      // What came before its end is on its way still.
      from.once('close', () => {
        if (!from.readableEnded) to.destroy();
        if (client.destroyed && pod.destroyed) this.#connections.delete(connection);
      });
    }
  }

  /** What is held passes. */
  release() {
    this.isHeld = false;
    for (const { up, down } of this.#connections) {
      up.pump();
      down.pump();
    }
  }

  /** The connections that are there are dead, and nothing says so; new ones pass. */
  forget() {
    for (const { up, down } of this.#connections) {
      up.break();
      down.break();
    }
  }

  /** Cuts connections: all of them, or those of one transport. */
  cut(kind) {
    for (const connection of this.#connections) {
      if (kind && connection.kind !== kind) continue;
      connection.client.destroy();
      connection.pod.destroy();
    }
  }

  /** From now on this transport does not get through, or all do. */
  block(...kinds) {
    this.blocked = new Set(kinds);
    for (const kind of kinds) this.cut(kind);
  }
}
