// Programs that a test starts, and that end with it.

import { execFile, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program that runs; what it says is in `log`. */
export class Process {
  constructor(program, args, options = {}) {
    this.program = program;
    this.log = '';
    this.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.log += text));
    }
    this.exit = new Promise((ended) => {
      this.child.once('error', (error) => ended({ code: null, signal: String(error) }));
      this.child.once('exit', (code, signal) => ended({ code, signal }));
    });
    this.exit.then((how) => (this.ended = how));
  }

  signal(name) {
    if (!this.ended) this.child.kill(name);
  }

  /** Ends it, if it did not by itself. */
  async stop(patience = 15_000) {
    this.signal('SIGTERM');
    const ended = await Promise.race([this.exit, sleep(patience, null, { ref: false })]);
    if (!ended) this.signal('SIGKILL');
    return ended ?? this.exit;
  }
}

/** Waits until `what` resolves to something true. */
export async function until(what, patience, message) {
  const deadline = Date.now() + patience;
  while (Date.now() < deadline) {
    const found = await what();
    if (found) return found;
    await sleep(50);
  }
  throw new Error(typeof message === 'function' ? message() : message);
}

/** The status of a GET; 0 without an answer. */
export const status = (url, patience = 1_000) =>
  fetch(url, { signal: AbortSignal.timeout(patience) }).then(
    async (answer) => {
      await answer.body?.cancel();
      return answer.status;
    },
    () => 0,
  );

/** Runs a program; resolves with `{code, stdout, stderr}` whatever it exits with. */
export function run(program, args, { input, ...options } = {}) {
  return new Promise((done, failed) => {
    const child = execFile(program, args, { maxBuffer: 64 * 1024 * 1024, ...options }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') return failed(error);
      done({ code: error?.code ?? 0, stdout, stderr });
    });
    child.stdin.on('error', () => {}); // a program that ends without reading its input
    child.stdin.end(input);
  });
}
