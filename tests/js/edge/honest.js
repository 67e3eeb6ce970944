// Honest clients beside an attack: how long their events, their first commands and the pod's health take.

import { setTimeout as sleep } from 'node:timers/promises';
import { performance } from 'node:perf_hooks';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { HONEST } from './attacks.js';

/** The most that an event, a way in and an answer of `/health` may take before it counts as lost. */
const PATIENCE = 15_000;

export const percentile = (times, share) => {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
};

export class Honest {
  events = [];
  joins = [];
  health = [];
  failures = {};
  #going = true;

  /** A member of the honest clients' room, which stays. */
  static async join(pod) {
    const honest = new Honest();
    honest.pod = pod;
    honest.member = await Client.open(pod.plainUrl);
    await honest.member.subscribe(HONEST);
    return honest;
  }

  #failed(what, error) {
    const why = `${what}: ${error.cause?.code ?? error.code ?? error.message.split('\n')[0]}`;
    this.failures[why] = (this.failures[why] ?? 0) + 1;
  }

  /** Does something `perSecond` times a second, one after the other. */
  async #each(perSecond, what, times, act) {
    while (this.#going) {
      const began = performance.now();
      try {
        await act();
        times.push(performance.now() - began);
      } catch (error) {
        this.#failed(what, error);
      }
      await sleep(Math.max(0, 1_000 / perSecond - (performance.now() - began)));
    }
  }

  async #event() {
    const mark = `${Math.random()}`;
    const body = JSON.stringify({ room: HONEST, topic: 't', data: mark });
    const headers = { authorization: `Bearer ${Pod.key}`, 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(`${this.pod.internal}/api/publish`, { method: 'POST', body, headers, signal });
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    await answer.arrayBuffer();
    await this.member.next('events', ({ events }) => events.some(({ data }) => data === mark), PATIENCE);
  }

  async #join() {
    const client = await Client.open(this.pod.tlsUrl, { handshakeTimeout: PATIENCE });
    try {
      await client.subscribe(HONEST);
    } finally {
      client.ws.terminate();
    }
  }

  async #health() {
    const answer = await fetch(`${this.pod.internal}/health`, { signal: AbortSignal.timeout(PATIENCE) });
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  }

  /** Begins; the returned function ends it and answers what was seen. */
  begin() {
    const going = [
      this.#each(20, 'event', this.events, () => this.#event()),
      this.#each(4, 'join', this.joins, () => this.#join()),
      this.#each(10, 'health', this.health, () => this.#health()),
    ];
    return async () => {
      this.#going = false;
      await Promise.all(going);
      this.member.ws.terminate();
      const { events, joins, health, failures } = this;
      return { events, joins, health, failures };
    };
  }
}
