// What the examples for browsers share: the client as it would be installed, a page in one script, a pod, and a server for the page.
//
// An application has a bundler and a backend instead.
//
//   ROOMCAST   the program `roomcast`; without it cargo builds it
//   PORT       of the page; default 5173
//   POD_PORT   of the pod; default 8080
//   POD_URL    where pages find the pod, if not there

import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const client = new URL('../../clients/typescript/', import.meta.url);
const { PORT = '5173', POD_PORT = '8080', ROOMCAST } = process.env;
export const podUrl = process.env.POD_URL ?? `http://localhost:${POD_PORT}`;

function run(program, ...args) {
  const { status } = spawnSync(program, args, { cwd: fileURLToPath(client), stdio: 'inherit' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`);
}

/** The files of a page: its script from `entry`, beside `index.html` and the style sheets of the folder. */
async function pageOf(folder, entry) {
  if (!existsSync(new URL('node_modules', client))) run('npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund');
  if (!existsSync(new URL('dist/esm/index.js', client))) run('npm', 'run', 'build');
  const { build } = createRequire(new URL('package.json', client))('esbuild');
  const { outputFiles } = await build({
    entryPoints: { main: fileURLToPath(new URL(entry, folder)) },
    bundle: true,
    splitting: true,
    format: 'esm',
    outdir: '/',
    write: false,
    minify: true,
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    // Where the packages are installed, their names are enough.
    alias: { roomcast: fileURLToPath(new URL('dist/esm', client)) },
    nodePaths: [fileURLToPath(new URL('node_modules', client))],
    tsconfigRaw: '{}',
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [path, { type: 'text/javascript', contents }]));
  files.set('/', { type: 'text/html', contents: await readFile(new URL('index.html', folder)) });
  const sheets = (await readdir(folder)).filter((name) => name.endsWith('.css'));
  for (const name of sheets)
    files.set(`/${name}`, { type: 'text/css', contents: await readFile(new URL(name, folder)) });
  return files;
}

/**
 * Starts an example until it is told to end. `env` is for the pod's `roomcast.toml`; `answers` are what its backend says, by path: each
 * gets the parameters and answers with a status and a value. `says` is printed with the page's address.
 */
export async function start({ folder, entry, env = {}, answers = {}, says }) {
  const files = await pageOf(folder, entry);
  const [program, before] = ROOMCAST ? [ROOMCAST, []] : ['cargo', ['run', '--release', '--bin', 'roomcast', '--']];
  const listen = ['--listen', 'none', '--plain-listen', `localhost:${POD_PORT}`, '--internal-listen', '127.0.0.1:0'];
  const pod = spawn(program, [...before, 'serve', '--dev', '--config', 'roomcast.toml', ...listen], {
    cwd: fileURLToPath(folder),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const server = createServer((request, answer) => {
    const { pathname, searchParams } = new URL(request.url, 'http://here');
    const json = (status, value) => {
      answer.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      answer.end(JSON.stringify(value));
    };
    if (answers[pathname]) return json(...answers[pathname](searchParams));
    const file = files.get(pathname);
    if (!file) return json(404, { error: 'There is no such page.' });
    const connects = `connect-src 'self' ${podUrl} ${podUrl.replace(/^http/, 'ws')}`;
    answer.writeHead(200, {
      'content-type': `${file.type}; charset=utf-8`,
      'content-security-policy': `default-src 'self'; ${connects}; img-src data:`,
    });
    answer.end(file.contents);
  });
  const stop = (code, why) => {
    if (why) console.error(why);
    server.close();
    server.closeAllConnections();
    pod.removeAllListeners('exit');
    pod.kill();
    process.exitCode = code;
  };
  pod.once('error', (error) => stop(1, `${program} does not start: ${error.message}`));
  pod.once('exit', (code) => stop(code ?? 1, 'the pod ended'));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop(0));
  server.once('error', (error) => stop(1, `the page cannot be served: ${error.message}`));
  server.listen(Number(PORT), 'localhost', () => console.log(`${says}: http://localhost:${server.address().port}`));
}
