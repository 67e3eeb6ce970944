// An application of examples/, started by its one command, with a proxy before its pod; and what of a page keeps people out.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { faint, nameless } from './looks.js';
import { binary } from './pod.js';
import { freePorts } from './ports.js';
import { Process, run, until } from './process.js';
import { Balancer } from './tcp_balancer.js';
import { folder as client } from './typescript.js';

export class Example {
  static async start(name) {
    const example = new Example();
    const cwd = fileURLToPath(new URL(`../../../examples/${name}/`, import.meta.url));
    const [page, pod] = await freePorts(2);
    const proxy = await new Balancer().listen();
    proxy.endpoints.add(pod);
    const env = { ROOMCAST: binary, PORT: page, POD_PORT: pod, POD_URL: `http://localhost:${proxy.port}` };
    const running = new Process(process.execPath, ['start.mjs'], { cwd, env: { ...process.env, ...env } });
    Object.assign(example, { cwd, proxy, pod, running, address: `http://localhost:${page}/`, podUrl: env.POD_URL });
    const isUp = async () => /http:\/\/localhost/.test(running.log) && (await answers(`http://localhost:${pod}/poll`));
    await until(
      async () => running.ended || (await isUp()),
      30_000,
      () => `it does not start:\n${running.log}`,
    );
    assert.equal(running.ended, undefined, running.log);
    return example;
  }

  /** The compiler has nothing to say. */
  async compiles() {
    const tsc = fileURLToPath(new URL('node_modules/.bin/tsc', client));
    const { code, stdout } = await run(tsc, ['--project', 'tsconfig.json'], { cwd: this.cwd });
    assert.equal(code, 0, stdout);
  }

  /** The network is away. */
  cut() {
    this.proxy.endpoints.clear();
    this.proxy.cut();
  }

  mend() {
    this.proxy.endpoints.add(this.pod);
  }

  async stop() {
    const ended = await this.running.stop();
    await this.proxy.close();
    assert.deepEqual(ended, { code: 0, signal: null }, this.running.log);
  }
}

const answers = (url) =>
  fetch(url).then(
    () => true,
    () => false,
  );

/** Notes what a page complains about, but for what a network that is away makes a browser say. */
export function watch(page) {
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(`${error.stack}`));
  page.on('console', (line) => {
    const isNetwork = /ERR_|WebSocket connection|Failed to load resource|WebTransport/.test(line.text());
    if (line.type() === 'error' && !isNetwork) page.complaints.push(line.text());
  });
  return page;
}

/** What axe finds that is serious, and what is faint or has no name. */
export async function faults(page) {
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  return [...found, ...(await page.evaluate(faint)), ...(await page.evaluate(nameless))];
}

/** A picture of a page, where SCREENSHOTS names a folder for them. */
export async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}
