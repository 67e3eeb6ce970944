// A way with weather in a thread of its own, so that what carrying bytes costs is none of the clients' time.
//
// Always holds: what is said to it happens in its order, and has happened when its promise resolves.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import { Way } from './network.js';

export class DistantWay {
  #thread;
  /** What waits for its answer, in order. */
  #asked = [];

  /** Opens a way to a pod's port. */
  static async open(port) {
    const way = new DistantWay();
    way.#thread = new Worker(new URL(import.meta.url), { workerData: { port } });
    way.#thread.on('message', (answer) => way.#asked.shift()(answer));
    way.urls = await new Promise((answered) => way.#asked.push(answered));
    return way;
  }

  #say(what) {
    this.#thread.postMessage(what);
    return new Promise((answered) => this.#asked.push(answered));
  }

  /** Changes what a `Way` is. */
  set(what) {
    return this.#say({ what });
  }

  /** Has it do what a `Way` can. */
  do(deed, ...how) {
    return this.#say({ deed, how });
  }

  /** When connections were begun, by this thread's `performance.now()`. */
  async attempts() {
    return (await this.do('attemptsSoFar')).map((time) => time - performance.timeOrigin);
  }

  async close() {
    await this.#thread.terminate();
  }
}

if (!isMainThread) {
  const way = await new Way(workerData.port).listen();
  way.attemptsSoFar = () => way.attempts.map((time) => time + performance.timeOrigin);
  parentPort.on('message', ({ what, deed, how }) => {
    parentPort.postMessage(what ? void Object.assign(way, what) : way[deed](...how));
  });
  parentPort.postMessage(way.urls);
}
