// The settings of a run, from environment variables (`k6 run -e NAME=value`). README.md lists them.

const number = (name, fallback) => {
  const text = __ENV[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${text}: a number is needed`);
  return value;
};

const DIALECTS = ['native', 'socketio', 'trips'];
const dialect = __ENV.DIALECT || 'native';
if (!DIALECTS.includes(dialect)) throw new Error(`DIALECT=${dialect}: there are ${DIALECTS.join(', ')}`);

/** Where a dialect is, on a pod in development mode or with its preset. */
const URLS = {
  native: 'wss://localhost:8443/ws',
  socketio: 'ws://localhost:3000/socket.io/',
  trips: 'ws://localhost:8080/ws',
};

export const settings = {
  dialect,
  url: __ENV.URL || URLS[dialect],
  token: __ENV.TOKEN || '',
  /** With it each client has a token of its own. */
  secret: __ENV.HMAC_SECRET || '',
  api: __ENV.API || 'http://127.0.0.1:9000',
  apiKey: __ENV.API_KEY || '',
  /** With it, trips publishes as its backend does: `PUBLISH`. */
  redis: __ENV.REDIS || '',
  compression: __ENV.COMPRESSION !== 'off',
  vus: number('VUS', 10),
  sockets: number('SOCKETS', 10),
  rooms: number('ROOMS', 1),
  /** How unequal rooms are: the room of rank r has a share of 1 / r ** SKEW. 0: all are equal. */
  skew: number('SKEW', 0),
  /** Events a second, all rooms together. */
  rate: number('RATE', 10),
  publishers: number('PUBLISHERS', 2),
  /** Bytes of filler in each event. */
  filler: number('FILLER', 200),
  /** Seconds: of the whole run; of the ramp at its beginning; after the last publish. */
  seconds: number('SECONDS', 60),
  ramp: number('RAMP', 5),
  settle: number('SETTLE', 3),
  /** How long a visitor of `churn` stays, on average. */
  stay: number('STAY', 5),
  /** Bounds, in milliseconds; trips waits 200 for a batch. */
  deliveryP95: number('DELIVERY_P95', dialect === 'trips' ? 350 : 100),
  publishP95: number('PUBLISH_P95', 100),
  connectP95: number('CONNECT_P95', 2000),
  reconnectP95: number('RECONNECT_P95', 5000),
  /** Where the summary goes. */
  out: __ENV.OUT || '.',
  /** Whether every step of every client is logged, one JSON object a line, for a checker. */
  log: __ENV.LOG === '1',
  prefix: __ENV.ROOM_PREFIX || { native: 'load', socketio: 'session', trips: 'trip' }[dialect],
};

if (settings.ramp + settings.settle >= settings.seconds) {
  throw new Error(
    `SECONDS=${settings.seconds} leaves no time to publish: RAMP + SETTLE are ${settings.ramp + settings.settle}`,
  );
}
if (settings.token !== '' && settings.secret !== '') {
  throw new Error('TOKEN and HMAC_SECRET are both set: one token for all clients, or one for each');
}
if (settings.apiKey === '' && settings.redis === '') {
  throw new Error('API_KEY is not set: the scripts publish over the API of a pod');
}

/** The names of the rooms. */
export const rooms = Array.from({ length: Math.max(1, settings.rooms) }, (_, n) => `${settings.prefix}:${n + 1}`);

const shares = rooms.map((_, n) => 1 / (n + 1) ** settings.skew);
const whole = shares.reduce((sum, share) => sum + share, 0);

/** The room of the client with this number among all: rooms have their shares, and each has one client at least. */
export function roomOf(index) {
  if (settings.skew === 0 || index < rooms.length) return rooms[index % rooms.length];
  // Spread over the ramp: neighbours are in different rooms.
  let left = ((index * 0.6180339887) % 1) * whole;
  for (const [n, share] of shares.entries()) {
    left -= share;
    if (left < 0) return rooms[n];
  }
  return rooms[0];
}
