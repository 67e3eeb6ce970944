// Everything that a pod writes at the most talkative level, while good and bad clients bring it tokens, keys and secrets by every
// way that there is: none of them is in it, and each line is one JSON object.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { connect as http2 } from 'node:http2';
import { createServer as listen } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

import { Pod, curl } from '../support/pod.js';
import { frame, Raw, TEXT } from '../support/raw.js';
import { Redis } from '../support/redis.js';
import { io } from '../support/socketio.js';

// Whatever must not be written. In each is a word that occurs nowhere else.
const signing = 'xylophone-of-thirty-two-bytes-and-more';
const apiKey = 'walrus-api-key';
const hookSecret = 'quokka-hook-secret';
const password = 'marmoset-of-redis';
const stored = 'ocelot-token-in-redis';
const answered = 'pangolin-what-the-backend-knows';
const wrong = [
  'narwhal-wrong-key',
  'tapir-no-token',
  'axolotl-in-a-cookie',
  'gecko-unparsed-payload',
  'dugong-in-a-room',
];

function signed(claims, key = signing) {
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}
const soon = Math.floor(Date.now() / 1_000) + 600;
const tokens = {
  good: signed({ sub: 'ann', exp: soon, badge: 'capybara' }),
  forged: signed({ sub: 'ann', exp: soon }, 'another-key-of-thirty-two-bytes-or-more'),
  expired: signed({ sub: 'bob', exp: 1_000_000_000 }),
  unfit: signed({ sub: 'carol', exp: 'never' }),
};

let redis, backend, pod, grpc;

before(async () => {
  // For `redis-cli`; it would warn of a password among its arguments.
  process.env.REDISCLI_AUTH = password;
  redis = await Redis.start('--requirepass', password);
  await redis.cli('SET', `/tokens/${stored}`, JSON.stringify({ id: 7, badge: answered }));
  backend = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { hook, room, query } = JSON.parse(text);
    // In turn: a yes, what is no answer, none at all, and no HTTP.
    if (query?.as === 'hangs' || room === 'asked:hangs') return;
    if (query?.as === 'drops' || room === 'asked:drops') return request.socket.destroy();
    const bad = query?.as === 'bad' || room === 'asked:bad';
    response.end(
      JSON.stringify(
        bad
          ? { allow: answered, [answered]: 1 }
          : { allow: true, ...(hook === 'connect' && { claims: { badge: answered } }) },
      ),
    );
  });
  await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${backend.address().port}`;
  const free = listen();
  await new Promise((listening) => free.listen(0, '127.0.0.1', listening));
  grpc = free.address().port;
  await new Promise((closed) => free.close(closed));
  pod = await Pod.start({
    tls: false,
    keyless: true,
    env: {
      ROOMCAST_API_KEY: apiKey,
      ROOMCAST_TOKENS_HMAC_SECRETS: signing,
      ROOMCAST_HOOKS_SECRET: hookSecret,
      ROOMCAST_REDIS_PASSWORD: password,
    },
    args: ['--log-level', 'trace', '--log', 'json', '--redis', redis.url, '--grpc-listen', `127.0.0.1:${grpc}`],
    config: `
anonymous = true
[tokens]
keep_claims = true
[token_lookup]
key = "/tokens/{token}"
query = "ticket"
[hooks]
connect = "${url}/connect"
subscribe = "${url}/subscribe"
timeout = "300ms"
retries = 1
headers = ["cookie"]
token = true
[socketio]
enabled = true
[[policy]]
match = ["asked:*"]
subscribe_hook = true
publish = "anyone"
[[legacy]]
channels = ["plain:*"]
room = "{channel}"
topic = "{/topic}"
`,
  });
});

after(async () => {
  await pod?.stop();
  backend?.closeAllConnections();
  backend?.close();
  await redis?.stop();
});

/** Opens a WebSocket, says some things, and goes; what comes of it is not the matter here. */
async function visit(query = '', { protocols = ['roomcast.v1'], says = [], headers = {} } = {}) {
  const ws = new WebSocket(`${pod.plainUrl}${query}`, protocols, { headers });
  const came = [];
  ws.on('message', (data) => came.push(JSON.parse(data)));
  const status = await new Promise((done) => {
    ws.once('open', () => done(101)).once('error', () => done(0));
    ws.once('unexpected-response', (_, answer) => done(answer.statusCode));
  });
  if (status === 101) {
    for (const message of says) ws.send(typeof message === 'string' ? message : JSON.stringify(message));
    await sleep(says.length > 0 ? 500 : 50);
  }
  ws.on('error', () => {});
  ws.terminate();
  return { status, came };
}

async function call(path, metadata, body) {
  const session = http2(`http://127.0.0.1:${grpc}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...metadata,
  });
  const status = new Promise((done, failed) => {
    stream.on('response', (headers) => headers['grpc-status'] && done(headers['grpc-status']));
    stream.on('trailers', (headers) => done(headers['grpc-status']));
    stream.on('error', failed);
  });
  stream.resume();
  stream.end(body);
  try {
    return Number(await status);
  } finally {
    session.close();
  }
}

test('no token, key, secret or answer is ever in the log', { timeout: 60_000 }, async () => {
  const cookie = { Cookie: `session=${wrong[2]}` };
  // Tokens by every way in, good ones and bad ones.
  assert.equal((await visit(`?token=${tokens.good}`, { headers: cookie })).status, 101);
  assert.equal((await visit('', { headers: { Authorization: `Bearer ${tokens.good}` } })).status, 101);
  assert.equal((await visit('', { protocols: ['roomcast.v1', `roomcast.token.${tokens.good}`] })).status, 101);
  assert.equal((await visit(`?ticket=${stored}`)).status, 101);
  for (const bad of [tokens.forged, tokens.expired, tokens.unfit, `${wrong[1]}.${wrong[1]}.x`]) {
    assert.equal((await visit(`?token=${bad}`)).status, 401);
    assert.equal((await visit('', { headers: { Authorization: `Bearer ${bad}` } })).status, 401);
  }
  assert.equal((await visit(`?token=${tokens.good}&token=${tokens.forged}`)).status, 400, 'two of them');
  assert.equal((await visit(`?token=${tokens.forged}&ticket=${stored}`)).status, 101, 'that of the application');
  await visit(`?ticket=${wrong[1]}`);
  const auth = (token) => ({ type: 'refresh', token });
  const { came } = await visit('', {
    says: [
      auth(tokens.forged),
      auth(wrong[1]),
      auth(tokens.good),
      auth(7),
      { type: 'subscribe', room: `${wrong[4]} {` },
      `{"type":"${wrong[3]}`,
    ],
  });
  assert.ok(
    came.some(({ code }) => code === 'unauthorized') && came.some(({ code }) => code === 'bad_request'),
    JSON.stringify(came),
  );
  // A backend that is told tokens, and answers, hangs and drops.
  for (const as of ['bad', 'hangs', 'drops'])
    assert.equal((await visit(`?as=${as}&token=${tokens.good}`, { headers: cookie })).status, 503, as);
  await visit(`?token=${tokens.good}`, {
    says: ['yes', 'bad', 'hangs', 'drops'].map((room) => ({ type: 'subscribe', room: `asked:${room}` })),
  });
  // Socket.IO: tokens, sessions that are none, packets that are none.
  for (const token of [tokens.good, tokens.forged, wrong[1]]) {
    const socket = io(`http://127.0.0.1:${pod.plainPort}`, {
      auth: { token },
      transports: ['websocket'],
      reconnection: false,
    });
    await new Promise((done) => socket.once('connect', done).once('connect_error', done));
    socket.close();
  }
  const engine = `http://127.0.0.1:${pod.plainPort}/socket.io/`;
  for (const query of [
    `EIO=4&transport=polling&sid=${wrong[1]}`,
    `EIO=3&transport=polling&token=${tokens.good}`,
    `EIO=4&transport=${wrong[1]}`,
  ]) {
    assert.equal((await curl(`${engine}?${query}`)).status, 400, query);
  }
  // What is no request, with a token in it.
  for (const bytes of [
    `GET /ws?token=${tokens.good} HTTP/9.9\r\n\r\n`,
    `GET /ws?token=${tokens.good}\r\n\r\n`,
    `\u0000${tokens.good}\r\n`,
  ]) {
    const raw = await Raw.connect(pod.plainPort);
    raw.send(bytes);
    await raw.gone;
  }
  const raw = await Raw.upgrade(pod.plainPort);
  raw.send(frame(TEXT, Buffer.concat([Buffer.from(wrong[3]), Buffer.from([0xff])])));
  await raw.close();
  // Keys of the API, over HTTP and over gRPC; polls and streams of clients.
  const body = JSON.stringify({ room: 'r', topic: 't', data: 1 });
  for (const [key, status] of [
    [apiKey, 200],
    [wrong[0], 401],
    [`${apiKey}x`, 401],
  ])
    assert.equal((await pod.post(body, { key })).status, status);
  assert.equal((await pod.post(`{"room": "${wrong[3]}`, { key: apiKey })).status, 400);
  const publish = '/roomcast.v1.Roomcast/Publish';
  for (const [key, status] of [
    [wrong[0], 16],
    [`${apiKey}x`, 16],
    [apiKey, 3],
  ])
    assert.equal(await call(publish, { authorization: `Bearer ${key}` }, Buffer.alloc(5)), status);
  assert.equal(
    await call(
      publish,
      { authorization: `Bearer ${apiKey}` },
      Buffer.concat([Buffer.from([0, 0, 0, 0, wrong[3].length]), Buffer.from(wrong[3])]),
    ),
    13,
  );
  for (const token of [tokens.good, tokens.forged])
    await curl(`http://127.0.0.1:${pod.plainPort}/poll?room=r&timeout=1&token=${token}`, '--max-time', '2').catch(
      () => {},
    );
  // A payload that does not parse, and a Redis that suddenly wants another password.
  await redis.cli('PUBLISH', 'plain:1', `{"topic": "${wrong[3]}`);
  await sleep(1_500);
  const next = 'meerkat-the-next-password';
  await redis.cli('CONFIG', 'SET', 'requirepass', next);
  process.env.REDISCLI_AUTH = next;
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await sleep(2_000);
  await redis.cli('CONFIG', 'SET', 'requirepass', password);

  const log = pod.log;
  const lines = log.split('\n').filter((line) => line.startsWith('{'));
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line);
  const levels = new Set(lines.map((line) => JSON.parse(line).level));
  assert.ok(
    levels.has('TRACE') && levels.has('DEBUG') && levels.has('WARN') && lines.length > 100,
    `${lines.length} lines, ${[...levels]}`,
  );
  for (const expected of ['the backend does not decide', 'asking again', 'it is not JSON', 'WRONGPASS'])
    assert.ok(log.includes(expected), expected);
  const hidden = [signing, apiKey, hookSecret, password, stored, answered, 'meerkat', 'capybara', ...wrong];
  for (const token of Object.values(tokens)) hidden.push(...token.split('.').slice(1));
  for (const word of hidden) {
    const line = log
      .split('\n')
      .find((line) => line.includes(word) || line.includes(Buffer.from(word).toString('base64')));
    assert.equal(line, undefined, `${word} is in the log`);
  }
});
