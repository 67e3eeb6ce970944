// One real pod on loopback ports of its own: started, awaited, stopped and checked for how it ended.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const binary = process.env.TEST_POD;
if (!binary) throw new Error('TEST_POD does not say which pod to test: run tests/run clients');

/** Ports that were free a moment ago, all different because they are held together. */
async function freePorts(count) {
  const held = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((listening, failed) => server.once('error', failed).listen(0, '127.0.0.1', listening));
      return server;
    }),
  );
  const ports = held.map((server) => server.address().port);
  await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}

export class Pod {
  static key = 'a-key-for-tests';

  /**
   * Starts `roomcast serve`; `config` is the text of its TOML file, `tls` whether it listens with TLS too, `ports` those of a pod that was there before, `keyless` whether it has no API key. Resolves
   * when `/ready` answers 200.
   */
  static async start({ config = '', args = [], env = {}, dev = true, tls: over_tls = true, ports, keyless = false } = {}) {
    const pod = new Pod();
    pod.folder = await mkdtemp(join(tmpdir(), 'roomcast-clients-'));
    const [tls, plain, internal] = (pod.ports = ports ?? (await freePorts(3)));
    Object.assign(pod, {
      port: tls,
      plainPort: plain,
      tlsUrl: `wss://localhost:${tls}/ws`,
      plainUrl: `ws://127.0.0.1:${plain}/ws`,
      internal: `http://127.0.0.1:${internal}`,
      log: '',
    });
    const file = join(pod.folder, 'roomcast.toml');
    await writeFile(file, config);
    pod.process = spawn(
      binary,
      [
        'serve',
        ...(dev ? ['--dev'] : []),
        ...(over_tls ? ['--listen', `127.0.0.1:${tls}`] : []),
        ...['--plain-listen', `127.0.0.1:${plain}`],
        ...['--internal-listen', `127.0.0.1:${internal}`, ...(keyless ? [] : ['--api-key', Pod.key]), '--config', file],
        ...args,
      ],
      {
        cwd: pod.folder,
        // What the pod keeps between starts (its development certificate) stays in the folder of this test.
        env: { PATH: process.env.PATH, HOME: pod.folder, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    for (const stream of [pod.process.stdout, pod.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (pod.log += text));
    }
    pod.exit = new Promise((ended) => pod.process.once('exit', (code, signal) => ended({ code, signal })));
    await pod.#ready();
    return pod;
  }

  async #ready() {
    const deadline = Date.now() + 15_000;
    while (Date.now() < deadline) {
      if (this.process.exitCode !== null) break;
      const status = await fetch(`${this.internal}/ready`, { signal: AbortSignal.timeout(1_000) }).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) return;
      await sleep(50);
    }
    this.process.kill('SIGKILL');
    throw new Error(`the pod was not ready (exit code ${this.process.exitCode}); it said:\n${this.log}`);
  }

  /** SIGTERM; the pod must drain and exit 0 within 30 s. */
  async stop() {
    this.process.kill('SIGTERM');
    const ended = await Promise.race([this.exit, sleep(30_000, null, { ref: false })]);
    if (!ended) this.process.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
    if (ended?.code !== 0) {
      const how = ended ? `code ${ended.code}, signal ${ended.signal}` : 'not at all within 30 s';
      throw new Error(`after SIGTERM the pod ended with ${how}; it said:\n${this.log}`);
    }
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
