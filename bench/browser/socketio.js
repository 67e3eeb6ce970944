// socket.io in memory, with recovery on, behind `POST /publish` with a list of events: node bench/browser/socketio.js PORT

import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { Server } = createRequire(new URL('../../tests/js/package.json', import.meta.url))('socket.io');

const http = createServer();
const io = new Server(http, {
  connectionStateRecovery: { maxDisconnectionDuration: 5 * 60 * 1_000 },
  cors: { origin: '*' },
});
io.on('connection', (socket) => {
  socket.on('join', async (room, joined) => {
    await socket.join(room);
    joined();
  });
});
http.on('request', (request, response) => {
  if (request.url.startsWith('/socket.io/')) return;
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const events = request.method === 'POST' ? JSON.parse(Buffer.concat(chunks)) : [];
    for (const data of events) io.to(data.room).emit('event', data);
    response.end('{}');
  });
});
http.listen(Number(process.argv[2]), '127.0.0.1');
