// Two pods of the preset `social` over a real Redis and a real PostgreSQL, and the ways to them, which are cut. Pods keep their ports when they
// are killed and started again.

import assert from 'node:assert/strict';

import { binary, Pod } from '../support/pod.js';
import { freePorts } from '../support/ports.js';
import { Postgres } from '../support/postgres.js';
import { run } from '../support/process.js';
import { Redis } from '../support/redis.js';
import { Balancer } from '../support/tcp_balancer.js';
import { SECRET } from '../support/tokens.js';

const PODS = 2;

export class Fleet {
  pods = [];
  /** When which pod died or left: `{pod, at, how, up}`. */
  ends = [];

  /** `times`: `lease` and `debounce` in ms, and `repair`, how old a pending row is when pods look after it; `ways`: so many. */
  static async start({ times, ways }) {
    const fleet = new Fleet();
    fleet.times = times;
    [fleet.redis, fleet.postgres] = await Promise.all([Redis.start(), Postgres.start()]);
    fleet.env = {
      JWT_SECRET: SECRET,
      REDIS_URL: fleet.redis.url,
      ARCHIVE_URL: await fleet.postgres.database('people'),
      ROOMCAST_REDIS_LEASE: `${times.lease}ms`,
      ROOMCAST_USER_PRESENCE_OFFLINE_AFTER: `${times.debounce}ms`,
      ROOMCAST_ARCHIVE_REPAIR_AFTER: `${times.repair}ms`,
    };
    const env = { PATH: process.env.PATH, ...fleet.env };
    const made = await run(binary, ['archive', 'migrate', 'up', '--preset', 'social'], { env });
    assert.equal(made.code, 0, made.stderr);
    fleet.ports = await Promise.all(Array.from({ length: PODS }, () => freePorts(3)));
    await Promise.all(fleet.ports.map((_, n) => fleet.#begin(n)));
    fleet.ways = await Promise.all(Array.from({ length: ways }, () => new Balancer().listen()));
    fleet.#open(fleet.ways);
    return fleet;
  }

  async #begin(n) {
    this.pods[n] = await Pod.start({
      dev: false,
      tls: false,
      ports: this.ports[n],
      env: this.env,
      args: ['--preset', 'social', '--drain-delay', '0ms', '--drain-window', '500ms'],
    });
  }

  /** These ways lead to the pods that are there, as long as they are not cut. */
  #open(ways) {
    for (const way of ways) {
      way.endpoints = new Set(way.isCut ? [] : this.pods.flatMap((pod) => (pod ? [pod.plainPort] : [])));
    }
  }

  /** Cuts a way; for so long nobody comes through. */
  cut(way, time) {
    way.isCut = true;
    this.#open([way]);
    way.cut();
    setTimeout(() => {
      way.isCut = false;
      this.#open([way]);
    }, time);
  }

  /** `SIGKILL`, or `SIGTERM`, after which it drains. */
  async end(n, how) {
    const pod = this.pods[n];
    const end = { pod: n, at: Date.now(), how, up: Number.POSITIVE_INFINITY };
    this.ends.push(end);
    this.pods[n] = null;
    // As a balancer does, the ways learn of it a little later.
    setTimeout(() => this.#open(this.ways), 200);
    pod.running.signal(how);
    await pod.end(30_000);
    end.gone = Date.now();
    return end;
  }

  async again(end) {
    await this.#begin(end.pod);
    this.#open(this.ways);
    end.up = Date.now();
  }

  /** Calls the API of a pod, or of any that is there; `{status, json}`, status 0 without an answer. */
  async api(method, path, body, of) {
    const here = this.pods.filter(Boolean);
    const pod = of ?? here[Math.floor(Math.random() * here.length)];
    const headers = { authorization: `Bearer ${Pod.key}` };
    try {
      const signal = AbortSignal.timeout(10_000);
      const options = { method, headers, signal, ...(body && { body: JSON.stringify(body) }) };
      const answer = await fetch(`${pod.internal}${path}`, options);
      return { status: answer.status, json: await answer.json() };
    } catch {
      return { status: 0 };
    }
  }

  async stop() {
    const logs = this.pods.filter(Boolean).map((pod) => pod.log);
    await Promise.all(this.pods.filter(Boolean).map((pod) => pod.end(30_000)));
    await Promise.all((this.ways ?? []).map((way) => way.close()));
    await this.postgres?.stop();
    await this.redis?.stop();
    return logs;
  }
}
