// Starts the application: Redis, two pods with the preset `social`, and the page with what its backend would be.
//
//   node examples/angular/start.mjs
//
//   ROOMCAST      the program `roomcast`; without it cargo builds it
//   PORT          of the page; default 4200
//   POD_PORTS     of the pods, with commas between; default 8082,8083
//   POD_URLS      where pages find the pods, if not there
//   REDIS_URL     a Redis that runs already; without it one is started, whose data end with it
//   FEED_WINDOW   for how long news of the feed are collected; default 30s
//   BUILT         set: the page in dist/ is up to date

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Backend } from './backend.mjs';
import { pageServer } from './page_server.mjs';

const here = fileURLToPath(new URL('./', import.meta.url));
const client = fileURLToPath(new URL('../../clients/typescript/', import.meta.url));
const { PORT = '4200', POD_PORTS = '8082,8083', ROOMCAST, FEED_WINDOW = '30s', BUILT } = process.env;
const podPorts = POD_PORTS.split(',');
const pods = process.env.POD_URLS?.split(',') ?? podPorts.map((port) => `http://localhost:${port}`);
const secret = randomBytes(32).toString('hex');
const key = randomBytes(16).toString('hex');
const running = new Set();
let isOver = false;

function run(cwd, program, ...args) {
  const { status } = spawnSync(program, args, { cwd, stdio: 'inherit' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`);
}

function build() {
  for (const folder of [client, here])
    if (!existsSync(`${folder}node_modules`)) run(folder, 'npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund');
  if (!existsSync(`${client}dist/esm/index.js`)) run(client, 'npm', 'run', 'build');
  if (BUILT) return;
  // What `npm install roomcast` does.
  for (const part of ['package.json', 'dist'])
    cpSync(`${client}${part}`, `${here}node_modules/roomcast/${part}`, { recursive: true });
  run(here, 'npx', 'ng', 'build');
}

/** A program that runs until all of it ends; `ended` is called if it ends before. */
function begin(program, args, env, ended) {
  const child = spawn(program, args, {
    cwd: here,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  running.add(child);
  const gone = (why) => {
    if (running.delete(child) && !isOver) ended(why);
  };
  child.once('error', ({ message }) => gone(message));
  child.once('exit', (code, signal) => gone(signal ?? `exit code ${code}`));
  return child;
}

function stop(code, why) {
  if (isOver) return;
  isOver = true;
  if (why) console.error(why);
  server?.close();
  server?.closeAllConnections();
  for (const child of running) child.kill();
  process.exitCode = code;
}

async function freePort() {
  const listener = createServer();
  await new Promise((listens) => listener.listen(0, '127.0.0.1', listens));
  const { port } = listener.address();
  await new Promise((closed) => listener.close(closed));
  return port;
}

/** Waits until `isThere` says so. */
async function until(isThere) {
  while (!isOver && !(await isThere())) await sleep(50);
}

async function redis() {
  if (process.env.REDIS_URL) return process.env.REDIS_URL;
  const port = await freePort();
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--loglevel', 'warning'];
  begin('redis-server', args, {}, (why) => stop(1, `redis-server ended: ${why}`));
  const answers = () =>
    new Promise((told) => {
      const socket = connect(port, '127.0.0.1', () => (socket.destroy(), told(true)));
      socket.once('error', () => told(false));
    });
  await until(answers);
  return `redis://127.0.0.1:${port}`;
}

/** A pod, and where its API is. The others go on without it. */
async function pod(port, redisUrl) {
  const api = `http://127.0.0.1:${await freePort()}`;
  const [program, before] = ROOMCAST ? [ROOMCAST, []] : ['cargo', ['run', '--release', '--bin', 'roomcast', '--']];
  const listen = ['--plain-listen', `localhost:${port}`, '--internal-listen', new URL(api).host];
  const args = [...before, 'serve', '--preset', 'social', '--config', 'roomcast.toml', ...listen];
  const env = {
    JWT_SECRET: secret,
    REDIS_URL: redisUrl,
    CORS_ORIGINS: `http://localhost:${PORT}`,
    FEED_WINDOW,
    ROOMCAST_API_KEY: key,
  };
  const child = begin(program, args, env, (why) => {
    console.log(`The pod on port ${port} ended: ${why}`);
    apis = apis.filter((one) => one !== api);
    if (apis.length === 0) stop(1, 'no pod is left');
  });
  await until(() =>
    fetch(`${api}/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  console.log(`A pod on port ${port}: process ${child.pid}`);
  return api;
}

/** Asks the first pod that answers. A publish has a key by which it is one event, whichever pod was asked before. */
async function askPod(path, body) {
  const request = {
    headers: { authorization: `Bearer ${key}` },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  };
  for (const api of apis) {
    const answer = await fetch(api + path, { ...request, signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    if (answer?.ok) return answer.json();
    if (answer && answer.status < 500) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }
  throw new Error(`${path}: no pod answers`);
}

let server;
let apis = [];
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop(0));
build();
const redisUrl = await redis();
apis = await Promise.all(podPorts.map((port) => pod(port, redisUrl)));
if (!isOver) {
  server = pageServer(new Backend({ secret, api: askPod, pods }), pods);
  server.once('error', (error) => stop(1, `the page cannot be served: ${error.message}`));
  server.listen(Number(PORT), 'localhost', () =>
    console.log(`The application, to be opened as two people: http://localhost:${server.address().port}`),
  );
}
