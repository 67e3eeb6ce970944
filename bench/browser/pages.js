// A page for each client: it follows all rooms, and looks at each event as an application would that needs all of them in order.
//
// Always holds: what a page does with an event is the same text for all; each client is called as its own documentation shows.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const bundles = new URL('../bundles/', import.meta.url);
const dist = fileURLToPath(new URL('../../clients/typescript/dist/esm', import.meta.url));
const { build } = createRequire(new URL('package.json', bundles))('esbuild');

/** `follow(url, rooms, saw)` resolves when all rooms are joined. */
const FOLLOW = {
  roomcast: `import { Client } from 'roomcast';
    export function follow(url, rooms, saw) {
      const client = new Client({ url, transports: ['websocket'] });
      const event = ({ data }) => saw(data);
      return Promise.all(rooms.map((room) => client.subscribe(room, { event }).joined()));
    }`,
  centrifuge: `import { Centrifuge } from 'centrifuge';
    export function follow(url, rooms, saw) {
      const client = new Centrifuge(url.replace('http', 'ws') + '/connection/websocket');
      client.connect();
      return Promise.all(rooms.map((room) => {
        const subscription = client.newSubscription(room);
        subscription.on('publication', ({ data }) => saw(data));
        subscription.subscribe();
        return subscription.ready();
      }));
    }`,
  'socket.io-client': `import { io } from 'socket.io-client';
    export async function follow(url, rooms, saw) {
      const socket = io(url, { transports: ['websocket'] });
      socket.on('event', saw);
      await new Promise((connected) => socket.once('connect', connected));
      await Promise.all(rooms.map((room) => socket.emitWithAck('join', room)));
    }`,
};

/** Before `follow` is called: what has come, and what is wrong with it. */
const WATCH = `
  window.began = performance.now();
  window.seen = { count: 0, disordered: 0, delays: [] };
  const last = new Map();
  window.saw = ({ room, n, at }) => {
    const { seen } = window;
    seen.count += 1;
    if (n !== (last.get(room) ?? 0) + 1) seen.disordered += 1;
    last.set(room, n);
    seen.delays.push(Date.now() - at);
  };`;

const bundled = async (uses) => {
  const { outputFiles } = await build({
    stdin: { contents: uses, resolveDir: fileURLToPath(bundles) },
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'page',
    target: 'es2022',
    platform: 'browser',
    write: false,
    alias: { roomcast: dist },
    logLevel: 'error',
  });
  return outputFiles[0].text;
};

/** Serves `/NAME` for each client; answers the server and its origin. */
export async function servePages() {
  const scripts = new Map();
  for (const [name, uses] of Object.entries(FOLLOW)) scripts.set(`/${name}.js`, await bundled(uses));
  const server = createServer(({ url }, answer) => {
    const script = scripts.get(url);
    answer.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    const html = `<!doctype html><title>page</title><script>${WATCH}</script><script src="${url}.js"></script>`;
    answer.end(script ?? html);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return { server, origin: `http://localhost:${server.address().port}` };
}
