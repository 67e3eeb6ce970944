// Socket.IO 5 over Engine.IO 4, as `socket.io-client` speaks it over WebSocket, against live-polls: the session is in the query,
// events come as `event {eventId, eventType, timestamp, sessionId, payload}`.
//
// Unlike `socket.io-client` it asks for its namespace as soon as the WebSocket is open: k6 now and then drops a message that comes with
// the answer to the upgrade, because it reads before it takes the socket for open. Engine.IO's open packet is such a message, and a
// client that waits for it would wait for good.

import { settings } from '../settings.js';

const query = (parts) =>
  Object.entries(parts)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    .join('&');

export const socketio = {
  request(client) {
    const session = client.room.replace(/^session:/, '');
    const { lastEvent, pid } = client.state;
    const parts = { sessionId: session, fromEventId: pid ? undefined : lastEvent, EIO: 4, transport: 'websocket' };
    return { url: `${settings.url}?${query(parts)}` };
  },

  open(client) {
    const { pid, offset } = client.state;
    const auth = client.token ? { token: client.token } : {};
    if (pid && offset) Object.assign(auth, { pid, offset });
    client.send(`40${Object.keys(auth).length ? JSON.stringify(auth) : ''}`);
  },

  message(client, text) {
    switch (text[0]) {
      case '0':
        break; // it is told the id of a session, and pauses of a server whose pings it answers at once
      case '1':
        break; // the close follows
      case '2':
        client.send('3');
        break;
      case '4':
        packet(client, text[1], text.slice(2));
        break;
      default:
    }
  },

  /** Engine.IO has no ping of the client's own: what came is judged by the numbers of the events alone. */
  settle(client, done) {
    done(client.numbers.size > 0);
  },
};

function packet(client, type, body) {
  const { state } = client;
  switch (type) {
    case '0': {
      const { sid, pid } = JSON.parse(body);
      const before = state.sid;
      state.recoveredBySid = before !== undefined && sid === before;
      state.again = before !== undefined;
      state.sid = sid;
      state.pid = pid;
      if (state.recoveredBySid) client.isIn(true);
      break;
    }
    case '2':
      event(client, JSON.parse(body));
      break;
    case '1':
      client.error('the server disconnected the namespace');
      break;
    case '4':
      client.error(`connect_error ${body}`);
      break;
    default:
  }
}

function event(client, args) {
  const { state } = client;
  // With connection state recovery the last argument is the offset.
  const last = args[args.length - 1];
  if (state.pid && args.length > 2 && typeof last === 'string') state.offset = last;
  switch (args[0]) {
    case 'connection:established':
      if (!client.joined) client.isIn(state.again ? args[1].replayed !== false : null);
      break;
    case 'event':
      // What was missed comes before the answer to a recovered connect.
      if (args[1].eventId !== undefined) state.lastEvent = args[1].eventId;
      client.say({ step: 'events', id: args[1].eventId, number: args[1].payload.number });
      client.event(args[1].payload);
      break;
    case 'heartbeat:ping':
      client.send('42["heartbeat:pong"]');
      break;
    case 'connection:error':
      client.error(JSON.stringify(args[1]));
      break;
    default:
  }
}
