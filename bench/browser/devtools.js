// Chromium, driven by the few words of its DevTools protocol that a measurement needs.
//
// Never asks to be told of the network: a browser that is (Playwright always asks) copies each message that a page receives to whoever
// listens, and the page pays for it. Always holds: the profile is empty, and goes with the browser.

import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { executable, FLAGS } from '../../tests/js/support/browser.js';
import { Process, until } from '../../tests/js/support/process.js';

const { WebSocket } = createRequire(new URL('../../tests/js/package.json', import.meta.url))('ws');

/** A page that nobody looks at is worked for all the same. */
const AWAKE = ['background-timer-throttling', 'backgrounding-occluded-windows', 'renderer-backgrounding'];

export class Browser {
  #running;
  #profile;
  #socket;
  #calls = new Map();
  #ids = 0;
  /** Told of each event: its method, what it says, and the session that it is of. */
  events = new Set();

  static async launch() {
    const browser = new Browser();
    browser.#profile = await mkdtemp(join(tmpdir(), 'roomcast-chromium-'));
    const awake = AWAKE.map((what) => `--disable-${what}`);
    const own = ['--remote-debugging-port=0', `--user-data-dir=${browser.#profile}`];
    browser.#running = new Process(executable, [...FLAGS, ...awake, ...own, 'about:blank']);
    try {
      await browser.#connect();
    } catch (error) {
      await browser.end();
      throw error;
    }
    return browser;
  }

  async #connect() {
    const address = () => /DevTools listening on (ws:\S+)/.exec(this.#running.log)?.[1];
    const url = await until(address, 30_000, () => `Chromium does not listen; it said:\n${this.#running.log}`);
    this.#socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 2 ** 30 });
    this.#socket.on('message', (text) => this.#take(JSON.parse(text)));
    await new Promise((open, failed) => this.#socket.once('open', open).once('error', failed));
  }

  #take({ id, result, error, method, params, sessionId }) {
    if (id === undefined) {
      for (const told of this.events) told(method, params, sessionId);
      return;
    }
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  /** Calls a method, of the browser or of a page. */
  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#ids;
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  /** Opens a page; resolves when it is `ready`, a global of it. */
  async open(url, ready) {
    const { targetId } = await this.send('Target.createTarget', { url });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page((method, params) => this.send(method, params, sessionId));
    this.events.add((method, { exceptionDetails }, from) => {
      if (from === sessionId && method === 'Runtime.exceptionThrown') page.errors.push(said(exceptionDetails));
    });
    await page.send('Runtime.enable');
    const isReady = () => page.evaluate((ready) => document.readyState === 'complete' && ready in window, ready);
    await until(isReady, 10_000, () => `${url} does not load: ${page.errors}`);
    return page;
  }

  async end() {
    this.#socket?.close();
    await this.#running.stop();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const said = ({ text, exception }) => exception?.description ?? `${text} ${JSON.stringify(exception?.value)}`;

class Page {
  /** What no part of the page has caught. */
  errors = [];

  constructor(send) {
    this.send = send;
  }

  /** Calls a function in the page; what it and its arguments are must be JSON. */
  async evaluate(call, ...args) {
    const expression = `(${call})(${args.map((arg) => JSON.stringify(arg)).join()})`;
    const how = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', how);
    if (exceptionDetails) throw new Error(said(exceptionDetails));
    return result.value;
  }
}
