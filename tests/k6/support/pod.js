// One pod for a script: with the embedded broker in development mode, or with a preset and a Redis.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePorts } from '../../chart/support/ports.js';
import { run } from '../../chart/support/helm.js';
import { Process, status, until } from './process.js';

export const binary = process.env.TEST_POD;
if (!binary) throw new Error('TEST_POD does not say which pod to test: run tests/run k6');

export const KEY = 'a-key-for-tests';

/** The presets of this build; none before there were any. */
export async function presets() {
  const { code, stdout } = await run(binary, ['presets']);
  return code === 0 ? stdout : '';
}

export async function pod(args, { withTls = true } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'roomcast-load-'));
  const [tls, plain, internal] = await freePorts(3);
  const listeners = ['--plain-listen', `127.0.0.1:${plain}`, '--internal-listen', `127.0.0.1:${internal}`];
  if (withTls) listeners.push('--listen', `127.0.0.1:${tls}`);
  const env = { PATH: process.env.PATH, HOME: folder, ROOMCAST_API_KEY: KEY };
  const running = new Process(binary, ['serve', ...listeners, ...args], { cwd: folder, env });
  const api = `http://127.0.0.1:${internal}`;
  const stop = async () => {
    await running.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until(async () => running.ended || (await status(`${api}/ready`)) === 200, 15_000, () => running.log);
    if (running.ended) throw new Error(`the pod ended: ${running.log}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { api, tls: `wss://127.0.0.1:${tls}`, plain: `ws://127.0.0.1:${plain}`, stop };
}
