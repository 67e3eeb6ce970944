// The application of examples/angular, started by its one command: two pods on one Redis, and ways to them that a test cuts.
//
// A place is where pages are: it has a way to each pod, open or not, and pages there know no other.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

import { watch } from './example.js';
import { binary } from './pod.js';
import { freePorts } from './ports.js';
import { Process, until } from './process.js';
import { Balancer } from './tcp_balancer.js';

/** Building it takes most of that, on a machine that does something else as well. */
const STARTS_WITHIN = 180_000;

class Place {
  constructor(ways, pods) {
    Object.assign(this, { ways, pods, urls: ways.map(({ port }) => `http://localhost:${port}`) });
  }

  /** From now on these pods can be reached, and no other. */
  reaches(...numbers) {
    for (const [at, way] of this.ways.entries()) {
      way.endpoints.clear();
      if (numbers.includes(at)) way.endpoints.add(this.pods[at]);
      else way.cut();
    }
  }
}

export class SocialExample {
  static async start() {
    const example = new SocialExample();
    const cwd = fileURLToPath(new URL('../../../examples/angular/', import.meta.url));
    const [page, ...pods] = await freePorts(3);
    const ways = await Promise.all(Array.from({ length: 4 }, () => new Balancer().listen()));
    example.places = [new Place(ways.slice(0, 2), pods), new Place(ways.slice(2), pods)];
    for (const [at, place] of example.places.entries()) place.reaches(at);
    const env = {
      ROOMCAST: binary,
      PORT: page,
      POD_PORTS: pods.join(),
      POD_URLS: example.places.flatMap(({ urls }) => urls).join(),
      FEED_WINDOW: '2s',
      ROOMCAST_USER_PRESENCE_OFFLINE_AFTER: '2s',
    };
    const running = new Process(process.execPath, ['start.mjs'], { cwd, env: { ...process.env, ...env } });
    Object.assign(example, { running, pods, ways, address: `http://localhost:${page}` });
    await until(
      async () => running.ended || /The application.*http:/.test(running.log),
      STARTS_WITHIN,
      () => `it does not start:\n${running.log}`,
    );
    assert.equal(running.ended, undefined, running.log);
    return example;
  }

  /** Ends a pod as a power failure would. */
  kill(number) {
    const [, id] = new RegExp(`A pod on port ${this.pods[number]}: process (\\d+)`).exec(this.running.log);
    process.kill(Number(id), 'SIGKILL');
  }

  /** A page of its own for a person that has signed in, at a place. */
  async enter(t, browser, name, { place = 0, path = '/messages', script, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    t.after(() => context.close());
    const page = watch(await context.newPage());
    if (script) await page.addInitScript(script);
    await page.route('**/api/session*', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), pods: this.places[place].urls } });
    });
    await page.goto(this.address + path);
    await page.click(`.person .name:text-is("${name}")`);
    await connected(page);
    return page;
  }

  /** Asks the backend as a person without a page. */
  async ask(user, method, path, body) {
    const { token } = await (await fetch(`${this.address}/api/session?user=${user}`)).json();
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(this.address + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.json();
  }

  async stop() {
    const ended = await this.running.stop();
    await Promise.all(this.ways.map((way) => way.close()));
    assert.deepEqual(ended, { code: 0, signal: null }, this.running.log);
  }
}

export const connected = (page) => page.waitForSelector('.connection[data-state=open]', { state: 'attached' });
