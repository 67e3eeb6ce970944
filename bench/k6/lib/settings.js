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
  api: __ENV.API || 'http://127.0.0.1:9000',
  apiKey: __ENV.API_KEY || '',
  /** With it, trips publishes as its backend does: `PUBLISH`. */
  redis: __ENV.REDIS || '',
  compression: __ENV.COMPRESSION !== 'off',
  vus: number('VUS', 10),
  sockets: number('SOCKETS', 10),
  rooms: number('ROOMS', 1),
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
if (settings.apiKey === '' && settings.redis === '') {
  throw new Error('API_KEY is not set: the scripts publish over the API of a pod');
}

/** The names of the rooms. */
export const rooms = Array.from({ length: Math.max(1, settings.rooms) }, (_, n) => `${settings.prefix}:${n + 1}`);
