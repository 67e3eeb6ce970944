// socket.io with its Redis Streams adapter, as its documentation sets it up, behind an HTTP API as an application would write it:
// socket.io has none. An answer comes once the adapter has appended the event, as the answers of the others say it.
//
//   node server.mjs PORT [redis://127.0.0.1:6379 [cluster]]
//   node server.mjs PORT tls '{"port":8443,"deflate":true}' CERTIFICATE KEY
//
// With `tls` clients connect to a port of their own over TLS, and there is no Redis.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient, createCluster } from 'redis';
import { Server } from 'socket.io';

const EVENT = 2;
const STREAM = 'socket.io';
const [port, first, kind, cert, key] = process.argv.slice(2);
const clients = first === 'tls' ? JSON.parse(kind) : undefined;
const url = clients ? undefined : first;

const redis = url && (kind === 'cluster' ? createCluster({ rootNodes: [{ url }] }) : createClient({ url }));
if (redis) {
  redis.on('error', (error) => console.error(error));
  await redis.connect();
}

const http = createServer();
const secure = clients && createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) });
const io = new Server(secure ?? http, {
  ...(clients && { perMessageDeflate: clients.deflate }),
  ...(redis && { adapter: createAdapter(redis) }),
  // What keeps the stream's offsets in events, so that a client that comes back gets what it missed.
  connectionStateRecovery: { maxDisconnectionDuration: 5 * 60 * 1000 },
});

io.on('connection', (socket) => {
  socket.on('join', async (room, joined) => {
    await socket.join(room);
    joined();
  });
});

// What `io.to(room).emit("event", data)` does, but for waiting: that returns before Redis has the event.
function publish({ room, data }) {
  const packet = { type: EVENT, data: ['event', data], nsp: '/' };
  return io.of('/').adapter.broadcast(packet, { rooms: new Set([room]), except: new Set(), flags: {} });
}

// How many events the stream has had, with those that it has dropped since.
async function appended() {
  const command = ['XINFO', 'STREAM', STREAM];
  const fields = await (kind === 'cluster' ? redis.sendCommand(STREAM, true, command) : redis.sendCommand(command));
  const at = Array.isArray(fields) ? fields.indexOf('entries-added') : -1;
  return at < 0 ? fields['entries-added'] : fields[at + 1];
}

async function answer(path, body) {
  if (path === '/publish') {
    await publish(JSON.parse(body));
    return {};
  }
  if (path === '/batch') {
    await Promise.all(JSON.parse(body).map(publish));
    return {};
  }
  return path === '/appended' ? { appended: redis ? await appended() : 0 } : undefined;
}

http.on('request', (request, response) => {
  if (request.url.startsWith('/socket.io/')) return;
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const said = await answer(request.url, Buffer.concat(chunks).toString()).catch((error) => {
      console.error(error);
    });
    const text = JSON.stringify(said ?? { error: 'it failed' });
    response.writeHead(said ? 200 : 500, { 'Content-Type': 'application/json', 'Content-Length': text.length });
    response.end(text);
  });
});
secure?.listen(clients.port, '127.0.0.1');
http.listen(Number(port), '127.0.0.1');
