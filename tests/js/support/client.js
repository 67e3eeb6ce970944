// A native client on npm `ws`, as thin as a test wants it: messages in, messages out, nothing answered by itself.

import assert from 'node:assert/strict';
import WebSocket from 'ws';

const PATIENCE = 30_000;

export class Client {
  #inbox = [];
  #waiting = [];
  #ids = 0;

  /** Connects and takes the `welcome`. `options` are those of `ws`. */
  static async open(url, { protocols = ['roomcast.v1'], ...options } = {}) {
    const client = new Client();
    // The development certificate is self-signed; `http.test.js` looks at it.
    const ws = new WebSocket(url, protocols, { rejectUnauthorized: false, ...options });
    client.ws = ws;
    client.closed = new Promise((closed) => ws.once('close', (code, reason) => closed({ code, reason: `${reason}` })));
    ws.once('upgrade', (answer) => (client.extensions = answer.headers['sec-websocket-extensions'] ?? ''));
    ws.on('message', (data, binary) => client.#arrived(data, binary));
    await new Promise((open, failed) => ws.once('open', open).once('error', failed));
    // What goes wrong later (a frame that does not inflate, say) must fail the test that waits.
    ws.on('error', (error) => client.#fail(error));
    client.welcome = await client.next('welcome');
    return client;
  }

  #arrived(data, binary) {
    const message = { ...JSON.parse(data.toString()), raw: data.toString(), binary };
    const waiting = this.#waiting.findIndex(({ wanted }) => wanted(message));
    if (waiting < 0) this.#inbox.push(message);
    else this.#waiting.splice(waiting, 1)[0].resolve(message);
  }

  #fail(error) {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** The oldest message of this type that was not taken yet. */
  next(type, more = () => true, patience = PATIENCE) {
    return this.#take((message) => message.type === type && more(message), `"${type}"`, patience);
  }

  #take(wanted, what, patience = PATIENCE) {
    const found = this.#inbox.findIndex(wanted);
    if (found >= 0) return Promise.resolve(this.#inbox.splice(found, 1)[0]);
    return new Promise((resolve, reject) => {
      const entry = {
        wanted,
        resolve: (message) => (clearTimeout(timer), resolve(message)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        const had = this.#inbox.map(({ raw }) => raw.slice(0, 200)).join('\n');
        reject(new Error(`no ${what} within ${patience} ms; not taken until then:\n${had}`));
      }, patience);
      this.#waiting.push(entry);
    });
  }

  /** Messages that nobody has taken. */
  get pending() {
    return this.#inbox;
  }

  send(message) {
    this.ws.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** Sends a command with an id and returns the reply that carries it. */
  request(command) {
    const id = `id-${++this.#ids}`;
    this.send({ ...command, id });
    return this.#take((message) => message.id === id, `reply to ${command.type}`);
  }

  async subscribe(room, since) {
    const reply = await this.request({ type: 'subscribe', room, ...(since && { since }) });
    assert.equal(reply.type, 'subscribed', reply.raw);
    assert.equal(reply.room, room);
    return reply;
  }

  /**
   * Takes `events` frames of a room until `count` events came. Checks on the way what is promised for every frame:
   * it continues where the last one ended, and its offsets increase within what it covers.
   */
  async events(room, count, from) {
    const all = [];
    let at = from;
    while (all.length < count) {
      const frame = await this.next('events', (message) => message.room === room);
      if (at !== undefined) assert.equal(frame.after, at, `a hole or a repetition: ${frame.raw.slice(0, 200)}`);
      let last = frame.after;
      for (const { offset } of frame.events) {
        assert.ok(offset > last && offset <= frame.offset, frame.raw.slice(0, 200));
        last = offset;
      }
      at = frame.offset;
      all.push(...frame.events);
    }
    return all;
  }

  async close(code = 1000) {
    this.ws.close(code);
    return this.closed;
  }
}
