// The live-polls document's server, as small as its protocol allows, on npm's own `socket.io`: what the k6 scripts speak to here, so
// that they are known to speak Socket.IO and not only what roomcast makes of it.

import { createServer } from 'node:http';

import { Server } from 'socket.io';

export async function livePolls(apiKey) {
  const history = new Map(); // session -> events
  const http = createServer((request, answer) => {
    if (request.method !== 'POST' || request.url !== '/api/publish') return; // socket.io's own
    let body = '';
    request.setEncoding('utf8').on('data', (text) => (body += text));
    request.on('end', () => {
      if (request.headers.authorization !== `Bearer ${apiKey}`) return answer.writeHead(401).end();
      const { room, topic, data, id } = JSON.parse(body);
      const sessionId = room.replace(/^session:/, '');
      const events = history.get(sessionId) ?? history.set(sessionId, []).get(sessionId);
      const event = { eventId: id, eventType: topic, timestamp: new Date().toISOString(), sessionId, payload: data };
      events.push(event);
      server.to(sessionId).emit('event', event);
      answer
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ epoch: 'npm', offset: events.length }));
    });
  });
  const server = new Server(http, { connectionStateRecovery: {} });
  server.on('connection', (socket) => {
    const { sessionId, fromEventId } = socket.handshake.query;
    if (!sessionId) {
      socket.emit('connection:error', { code: 'session_required', message: 'sessionId is missing' });
      return socket.disconnect();
    }
    const events = history.get(sessionId) ?? [];
    const from = socket.recovered ? -1 : events.findIndex(({ eventId }) => eventId === fromEventId);
    socket.join(sessionId);
    const replayed = fromEventId === undefined || socket.recovered ? 0 : from >= 0 && events.length - from - 1;
    socket.emit('connection:established', {
      sessionId,
      connectionId: socket.id,
      serverTime: new Date().toISOString(),
      replayed,
    });
    if (from >= 0) for (const event of events.slice(from + 1)) socket.emit('event', event);
  });
  await new Promise((listening) => http.listen(0, '127.0.0.1', listening));
  const { port } = http.address();
  return {
    url: `ws://127.0.0.1:${port}/socket.io/`,
    api: `http://127.0.0.1:${port}`,
    close: () => new Promise((closed) => server.close(closed)),
  };
}
