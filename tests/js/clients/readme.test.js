// The README's first minutes, as written: its commands, its ports, its snippet in a browser. Only `cargo run --release`
// is replaced by the binary that is under test anyway.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { launch } from '../support/browser.js';

const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');

/** The block below `<!-- test: name -->`. */
function block(name) {
  const found = readme.match(new RegExp(`<!-- test: ${name} -->\n\`\`\`\\w+\n([\\s\\S]*?)\n\`\`\``));
  assert.ok(found, `the README has no block "${name}"`);
  return found[1];
}

async function taken(port) {
  const server = createServer();
  return new Promise((done) => {
    server.once('error', () => done(true)).listen(port, '127.0.0.1', () => server.close(() => done(false)));
  });
}

test('the README works as written', async (t) => {
  for (const port of [8080, 8443, 9000]) {
    if (await taken(port)) return t.skip(`port ${port} is taken on this machine`);
  }
  const folder = await mkdtemp(join(tmpdir(), 'roomcast-readme-'));
  const [cargo, ...args] = block('pod').split(' -- ');
  assert.equal(cargo, 'cargo run --release');
  const pod = spawn(process.env.TEST_POD, args.join(' -- ').split(' '), {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [pod.stdout, pod.stderr]) stream.setEncoding('utf8').on('data', (text) => (log += text));
  const exit = new Promise((ended) => pod.once('exit', ended));
  const pages = createHttpServer((_, answer) =>
    answer.setHeader('Content-Type', 'text/html').end('<title>page</title>'),
  );
  await new Promise((listening) => pages.listen(0, 'localhost', listening));
  const browser = await launch();
  try {
    const deadline = Date.now() + 10_000;
    const ready = () =>
      fetch('http://localhost:9000/ready').then(
        ({ ok }) => ok,
        () => false,
      );
    while (!(await ready())) {
      assert.ok(Date.now() < deadline && pod.exitCode === null, `the pod is not ready; it said:\n${log}`);
      await sleep(50);
    }
    const publish = async () => JSON.parse((await promisify(execFile)('bash', ['-c', block('publish')])).stdout);

    // The page at the printed address, untouched: the event that curl publishes appears on it.
    const address = log.match(/http:\/\/localhost:\d+/)?.[0];
    assert.equal(address, readme.match(/Open <(.*?)>/)[1], `the README names the address that is printed:\n${log}`);
    const own = await browser.newPage();
    await own.goto(address);
    await own.waitForFunction(() => window.roomcast?.client.rooms.get('demo:1')?.position);
    const { epoch, offset } = await publish();
    assert.deepEqual([typeof epoch, offset], ['string', 1]);
    await own.waitForSelector('#events [role=option]:has-text("Hello, room")');

    // A terminal, and a page of one's own.
    const [program, command] = block('terminal').split(' -- ');
    assert.equal(program, 'cargo run --release');
    const terminal = spawn(process.env.TEST_POD, command.split(' '), { stdio: ['ignore', 'pipe', 'ignore'] });
    let printed = '';
    terminal.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
    t.after(() => terminal.kill());
    const page = await browser.newPage();
    const logged = [];
    page.on('console', (line) => logged.push(line.text()));
    await page.goto(`http://localhost:${pages.address().port}/`);
    // `const` at the top of a console line outlives it, so does this.
    await page.addScriptTag({ content: block('browser') });
    const seen = async (type) => {
      const found = () => logged.find((line) => line.startsWith(`{"type":"${type}"`));
      for (let n = 0; n < 100 && !found(); n++) await sleep(50);
      assert.ok(found(), `no ${type} was logged: ${logged.join('\n')}`);
      return found();
    };
    await seen('subscribed');
    for (let n = 0; n < 100 && !printed.includes('joined at'); n++) await sleep(50);
    assert.equal((await publish()).offset, 2);
    const event = await seen('events');
    const shown = block('event').replace('"epoch":"…"', `"epoch":"${epoch}"`);
    assert.equal(event.replace(/"time":\d{13}\b/, '"time":…'), shown);
    for (let n = 0; n < 100 && !printed.includes('#2'); n++) await sleep(50);
    assert.match(printed, /^demo:1 {2}#2 .* greeting {2}\{"text":"Hello, room"\}$/m);
  } finally {
    await browser.close();
    pages.close();
    pod.kill('SIGTERM');
    await Promise.race([exit, sleep(10_000, null, { ref: false })]);
    pod.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});
