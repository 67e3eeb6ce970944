// One real pod on loopback ports of its own: started, awaited, stopped and checked for how it ended.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { freePorts } from './ports.js';
import { Process, run, status, until } from './process.js';

export const binary = process.env.TEST_POD;
if (!binary) throw new Error('TEST_POD does not say which pod to test: run it by tests/run');

export class Pod {
  static key = 'a-key-for-tests';

  /**
   * Starts `roomcast serve`; `config` is the text of its TOML file, `tls` whether it listens with TLS too, `ports` those of a pod
   * that was there before, `keyless` whether it has no API key, `files` how many it may open. Resolves when `path` answers 200.
   */
  static async start({
    config = '',
    args = [],
    env = {},
    dev = true,
    tls: withTls = true,
    ports,
    keyless = false,
    files,
    path = '/ready',
  } = {}) {
    const pod = new Pod();
    pod.folder = await mkdtemp(join(tmpdir(), 'roomcast-pod-'));
    const [tls, plain, internal] = (pod.ports = ports ?? (await freePorts(3)));
    Object.assign(pod, {
      port: tls,
      plainPort: plain,
      tlsUrl: `wss://localhost:${tls}/ws`,
      plainUrl: `ws://127.0.0.1:${plain}/ws`,
      internal: `http://127.0.0.1:${internal}`,
    });
    const file = join(pod.folder, 'roomcast.toml');
    await writeFile(file, config);
    // The shell becomes the pod.
    const limited = files ? ['sh', '-c', `ulimit -n ${files} && exec "$0" "$@"`] : [];
    const [program, ...first] = [...limited, binary];
    pod.running = new Process(
      program,
      [
        ...first,
        'serve',
        ...(dev ? ['--dev'] : withTls ? [] : ['--dev=false']),
        ...(withTls ? ['--listen', `127.0.0.1:${tls}`] : []),
        ...['--plain-listen', `127.0.0.1:${plain}`],
        ...['--internal-listen', `127.0.0.1:${internal}`, ...(keyless ? [] : ['--api-key', Pod.key]), '--config', file],
        ...args,
      ],
      // What the pod keeps between starts (its development certificate) stays in the folder of this test.
      { cwd: pod.folder, env: { PATH: process.env.PATH, HOME: pod.folder, ...env } },
    );
    await pod.#ready(path);
    return pod;
  }

  /** The child process itself. */
  get process() {
    return this.running.child;
  }

  /** What it said. */
  get log() {
    return this.running.log;
  }

  /** Resolves with how it ended, when it does. */
  get exit() {
    return this.running.exit;
  }

  async #ready(path) {
    const said = () => `the pod was not ready (exit code ${this.process.exitCode}); it said:\n${this.log}`;
    try {
      await until(async () => this.running.ended || (await status(`${this.internal}${path}`)) === 200, 15_000, said);
      if (this.running.ended) throw new Error(said());
    } catch (error) {
      this.running.signal('SIGKILL');
      throw error;
    }
  }

  /** SIGTERM; the pod must drain and exit 0 within 30 s. */
  async stop() {
    const ended = await this.end(30_000);
    if (ended.code !== 0) {
      throw new Error(
        `after SIGTERM the pod ended with code ${ended.code}, signal ${ended.signal}; it said:\n${this.log}`,
      );
    }
  }

  /** SIGTERM, and SIGKILL for a pod that is still there after a while; how it ended. */
  async end(patience) {
    const ended = await this.running.stop(patience);
    await rm(this.folder, { recursive: true, force: true });
    return ended;
  }

  /** Calls curl, a real one, for a path of the internal listener. */
  async curl(path, ...args) {
    return curl(`${this.internal}${path}`, ...args);
  }

  /** A GET of the public listener as it is on the wire: head and body, nothing decoded. */
  async raw(path, ...headers) {
    const args = ['--silent', '--noproxy', '*', '--max-time', '20', '--include', '--raw'];
    const { stdout } = await promisify(execFile)(
      'curl',
      [...args, ...headers.flatMap((header) => ['-H', header]), `http://127.0.0.1:${this.plainPort}${path}`],
      { encoding: 'buffer' },
    );
    const end = stdout.indexOf('\r\n\r\n');
    return { head: stdout.subarray(0, end).toString('latin1'), body: stdout.subarray(end + 4) };
  }

  /** Publishes with curl and returns the position. */
  async publish(room, data, more = {}) {
    const body = JSON.stringify({ room, topic: 'test', data, ...more });
    const { status, text } = await this.post(body);
    if (status !== 200) throw new Error(`publish to ${room} answered ${status}: ${text}`);
    return JSON.parse(text);
  }

  /** Sends a body to the publish API with curl, as it is. */
  async post(body, { key = Pod.key } = {}) {
    const authorization = key === null ? [] : ['-H', `Authorization: Bearer ${key}`];
    const file = join(this.folder, `body-${Math.random()}`);
    await writeFile(file, body);
    return this.curl(
      '/api/publish',
      ...authorization,
      ...['-H', 'Content-Type: application/json', '--data-binary', `@${file}`],
    );
  }
}

/** `{status, text}` of a request made by curl. */
export async function curl(url, ...args) {
  const { stdout } = await promisify(execFile)(
    'curl',
    ['--silent', '--show-error', '--noproxy', '*', '--max-time', '20', '--write-out', '\n%{http_code}', ...args, url],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  const end = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) };
}

/** The presets of this build. */
export async function presets() {
  const { code, stdout } = await run(binary, ['presets']);
  return code === 0 ? stdout : '';
}
