// `--preset loomio` with the client of its document: `socket.io-client` 4.8 as it is, `redis-cli PUBLISH` as the application, two
// pods; a Matrix server and the application's own endpoint are stood in for.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Pod, curl } from '../support/pod.js';
import { Redis } from '../support/redis.js';
import { io } from '../support/socketio.js';

const PATIENCE = 30_000;
const APP = 'https://app.example.com';

const until = async (holds, what) => {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(20)) if (await holds()) return;
  throw new Error(`${typeof what === 'function' ? what() : what}, after ${PATIENCE} ms`);
};

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

let redis, pods, matrix;

/** A server that notes what it is asked, and answers as `matrix.answers` says, else well. */
async function startMatrix() {
  const calls = [];
  const answers = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      const { method, url, headers } = request;
      const at = answers.findIndex(({ when }) => url.includes(when));
      const answer = at < 0 ? {} : answers.splice(at, 1)[0];
      calls.push({ method, url, token: headers.authorization, body });
      if (answer.hang) return;
      const good = url.includes('/directory/room/') ? { room_id: '!id:example.org' } : { event_id: '$1' };
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
      response.end(JSON.stringify(answer.body ?? good));
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    calls,
    answers,
    stop: () => (server.closeAllConnections(), new Promise((closed) => server.close(closed))),
  };
}

/** Everything is logged, so that what must not be is seen. Not by all pods: it is most of what they would do. */
const TRACED = ['--log-level', 'trace'];

/** Pods of single tests, which a failing test may leave running. */
const started = new Set();

async function start(ports, ...more) {
  const pod = await Pod.start({
    dev: false,
    tls: false,
    ports,
    args: [
      ...more,
      '--chatbots-timeout',
      '2s',
      '--chatbots-queue',
      '65536',
      '--preset',
      'loomio',
      '--redis',
      redis.url,
      '--advertise',
      '127.0.0.1',
      '--drain-delay',
      '0ms',
      '--drain-window',
      '0ms',
    ],
    env: { PUBLIC_APP_URL: APP, CHATBOT_SERVERS: matrix.url },
  });
  started.add(pod);
  return pod;
}

const url = (pod) => `http://127.0.0.1:${pod.plainPort}`;

/** What the application does for who signs in. */
const signIn = (token, id, group_ids) =>
  redis.cli('SET', `/current_users/${token}`, JSON.stringify({ id, name: `user ${id}`, group_ids }), 'EX', 1800);

const records = (room, n) =>
  redis.cli('PUBLISH', '/records', JSON.stringify({ room, records: { events: [{ id: n, kind: 'new_comment' }] } }));

/** Many at once, in this order. */
const burst = (list) =>
  redis.cli(
    'EVAL',
    list
      .map(
        ([room, n]) =>
          `redis.call('PUBLISH','/records',[==[${JSON.stringify({ room, records: { events: [{ id: n }] } })}]==])`,
      )
      .join('\n'),
    0,
  );

/** A client that collects what it gets: `[room, id]` of each records, in order; notices. */
async function client(pod, channel_token, options = {}) {
  const query = channel_token === undefined ? {} : { channel_token };
  const socket = io(url(pod), { query, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  Object.assign(socket, { seen: [], whole: [], notices: [] });
  socket.on('records', (data) => {
    socket.whole.push(data);
    socket.seen.push([data.room, data.records.events[0].id]);
  });
  socket.on('notice', (notice) => socket.notices.push(notice));
  await until(() => socket.connected, 'a connection');
  // What is published from now on comes: the rooms are joined when the pod has said that they are.
  await sleep(300);
  return socket;
}

/** Points a client at another pod: its balancer does that. */
function moveTo(socket, pod) {
  const { io: manager } = socket;
  manager.uri = url(pod);
  Object.assign(manager.opts, { hostname: '127.0.0.1', port: String(pod.plainPort) });
}

async function drop(socket) {
  socket.io.reconnection(false);
  const gone = new Promise((gone) => socket.once('disconnect', gone));
  socket.io.engine.close();
  await gone;
}

async function back(socket) {
  socket.io.reconnection(true);
  socket.connect();
  await until(() => socket.connected, 'a connection');
}

const metric = async (series) => {
  const texts = await Promise.all(pods.map((pod) => pod.curl('/metrics')));
  const value = (text) =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.split(' ')
        .at(-1) ?? 0,
    );
  return texts.reduce((sum, { text }) => sum + value(text), 0);
};

before(async () => {
  [redis, matrix] = await Promise.all([Redis.start(), startMatrix()]);
  pods = [await start(undefined, ...TRACED)];
  // The first takes the plain messages in from here on, so that another one can die without that.
  const probe = await client(pods[0]);
  for (const deadline = Date.now() + 15_000; probe.notices.length === 0; await sleep(200)) {
    assert.ok(Date.now() < deadline, 'nobody takes plain messages in');
    await redis.cli('PUBLISH', '/system_notice', '{"version":"0","notice":"probe","reload":false}');
  }
  probe.close();
  pods.push(await start());
});

after(async () => {
  await Promise.all(pods?.map((pod) => pod.stop()) ?? []);
  for (const pod of started) if (!pods?.includes(pod)) await pod.end(1_000);
  await redis?.stop();
  await matrix?.stop();
});

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  test(`records reach the rooms of a token, notices everybody, over ${transports.join(' then ')}`, async () => {
    await signIn('alice', 1, [10, 11]);
    await signIn('bob', 2, [10]);
    const alice = await client(pods[0], 'alice', { transports });
    const bob = await client(pods[1], 'bob', { transports });
    const guests = [
      await client(pods[0], undefined, { transports }),
      await client(pods[1], 'no-such-token', { transports }),
    ];
    const whole = {
      room: 'group-10',
      records: { events: [{ id: 1, kind: 'new_comment', eventable_id: 456 }], comments: [{ id: 456, body: 'é\n"' }] },
    };
    await redis.cli('PUBLISH', '/records', JSON.stringify(whole));
    await records('user-1', 2);
    await records('group-11', 3);
    await records('user-2', 4);
    const notice = { version: '2.14.0', notice: 'a new version', reload: true };
    await redis.cli('PUBLISH', '/system_notice', JSON.stringify(notice));
    const all = [alice, bob, ...guests];
    await until(() => all.every((socket) => socket.notices.length), 'a notice for everybody');
    assert.deepEqual(alice.whole[0], whole);
    assert.deepEqual(alice.seen, [
      ['group-10', 1],
      ['user-1', 2],
      ['group-11', 3],
    ]);
    assert.deepEqual(bob.seen, [
      ['group-10', 1],
      ['user-2', 4],
    ]);
    for (const guest of guests) assert.deepEqual(guest.seen, []);
    for (const socket of all) {
      assert.deepEqual(socket.notices, [notice]);
      socket.close();
    }
  });
}

test('on the wire: CONNECT has sid and pid, each event ends with an offset', async () => {
  await signIn('wire', 3, []);
  const socket = io(url(pods[0]), {
    query: { channel_token: 'wire' },
    forceNew: true,
    transports: ['websocket'],
    autoConnect: false,
  });
  const packets = [];
  socket.io.on('open', () =>
    socket.io.engine.on('packet', ({ type, data }) => type === 'message' && packets.push(data)),
  );
  socket.connect();
  await until(() => socket.connected, 'a connection');
  await sleep(300);
  await records('user-3', 1);
  await until(
    () => packets.length === 2,
    () => JSON.stringify(packets),
  );
  const connect = JSON.parse(packets[0].slice(1));
  assert.deepEqual(Object.keys(connect), ['sid', 'pid']);
  const [name, data, offset] = JSON.parse(packets[1].slice(1));
  assert.equal(packets[1][0], '2');
  assert.deepEqual([name, data.room, typeof offset], ['records', 'user-3', 'string']);
  socket.close();
});

test('what names no room reaches nobody, and is counted', async () => {
  await signIn('carol', 4, [12]);
  const carol = await client(pods[0], 'carol');
  const series = 'roomcast_legacy_messages_total{result="unfit"}';
  const before = await metric(series);
  for (const message of [
    '{"records":{}}',
    '{"room":"","records":{}}',
    '{"room":null,"records":{}}',
    '{"room":"a b","records":{}}',
    'no JSON',
  ]) {
    await redis.cli('PUBLISH', '/records', message);
  }
  await records('group-12', 1);
  await until(() => carol.seen.length, 'what follows');
  assert.deepEqual(carol.seen, [['group-12', 1]]);
  assert.equal((await metric(series)) - before, 5);
  carol.close();
});

test('records of several rooms and notices keep their order on every pod', async () => {
  await signIn('dave', 5, [20, 21, 22]);
  const sockets = [
    await client(pods[0], 'dave'),
    await client(pods[1], 'dave'),
    await client(pods[1], 'dave', { transports: ['polling'] }),
  ];
  const rooms = ['group-20', 'user-5', 'group-21', 'group-22', 'group-21'];
  const list = numbers(0, 1_000).map((n) => [rooms[(n * 7 + (n >> 3)) % 5], n]);
  for (const at of numbers(0, 10)) await burst(list.slice(at * 100, at * 100 + 100));
  await until(
    () => sockets.every(({ seen }) => seen.length >= list.length),
    () => `all: ${sockets.map(({ seen }) => seen.length)}`,
  );
  for (const socket of sockets) {
    assert.deepEqual(socket.seen, list);
    socket.close();
  }
});

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  describe(`coming back over ${transports.join(' then ')}`, () => {
    test('after kill -9 of its pod a session goes on, in all its rooms, in order and without duplicates', async () => {
      await signIn('erin', 6, [30, 31, 32]);
      const victim = await start();
      const socket = await client(victim, 'erin', { transports });
      const rooms = ['group-30', 'user-6', 'group-31', 'group-32', 'group-99'];
      const list = numbers(0, 400).map((n) => [rooms[(n * 3 + (n >> 2)) % 5], n]);
      const mine = list.filter(([room]) => room !== 'group-99');
      const { id } = socket;
      let at = 0;
      // The pod dies in the midst of it.
      const publishing = (async () => {
        for (; at < 300; at += 5) {
          await burst(list.slice(at, at + 5));
          await sleep(5);
        }
      })();
      await until(() => socket.seen.length > 40, 'the first records');
      socket.io.reconnection(false);
      const gone = new Promise((gone) => socket.once('disconnect', gone));
      victim.process.kill('SIGKILL');
      await gone;
      await publishing;
      assert.ok(socket.seen.length < mine.length, 'it has missed something');
      moveTo(socket, pods[1]);
      await back(socket);
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      await burst(list.slice(300));
      await until(
        () => socket.seen.length >= mine.length,
        () => `${socket.seen.length} of ${mine.length}`,
      );
      await sleep(200);
      assert.deepEqual(socket.seen, mine);
      socket.close();
    });
  });
}

test('again and again, while records come all the time', async () => {
  await signIn('frank', 7, [40, 41]);
  const socket = await client(pods[0], 'frank', { transports: ['websocket'] });
  const rooms = ['group-40', 'user-7', 'group-41'];
  const list = numbers(0, 1_500).map((n) => [rooms[(n * 5 + (n >> 4)) % 3], n]);
  const { id } = socket;
  const publishing = (async () => {
    for (let at = 0; at < list.length; at += 10) {
      await burst(list.slice(at, at + 10));
      await sleep(3);
    }
  })();
  let times = 0;
  socket.on('connect', () => {
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    times++;
  });
  let done = false;
  publishing.then(() => (done = true));
  while (!done) {
    await sleep(60);
    if (!socket.connected) continue;
    moveTo(socket, pods[times % 2]);
    // As a network does: nothing is said, and what was on its way is lost.
    socket.io.engine.transport.ws.terminate?.() ?? socket.io.engine.close();
  }
  await publishing;
  await until(
    () => socket.seen.length >= list.length,
    () => `${socket.seen.length} of ${list.length}`,
  );
  assert.ok(times > 3, `it came back ${times} times`);
  assert.deepEqual(socket.seen, list);
  socket.close();
});

test('a client that joined later gets nothing of what was before', async () => {
  await signIn('gail', 8, [50]);
  for (const n of numbers(0, 5)) await records('group-50', n);
  const socket = await client(pods[0], 'gail');
  await records('group-50', 5);
  await until(() => socket.seen.length, 'a record');
  assert.deepEqual(socket.seen, [['group-50', 5]]);
  await drop(socket);
  await records('group-50', 6);
  moveTo(socket, pods[1]);
  await back(socket);
  await until(() => socket.seen.length === 2, 'what it missed');
  assert.deepEqual(
    [socket.recovered, socket.seen],
    [
      true,
      [
        ['group-50', 5],
        ['group-50', 6],
      ],
    ],
  );
  socket.close();
});

test("a busy log brings back what is the client's, and says so when that is too much", async () => {
  await signIn('judy', 14, [80]);
  const socket = await client(pods[0], 'judy', { transports: ['websocket'] });
  await records('group-80', 0);
  await until(() => socket.seen.length === 1, 'a record');
  // It is in no hurry: what it has seen is in the log.
  await signIn('kate', 16, [80]);
  const witness = await client(pods[1], 'kate', { transports: ['websocket'] });
  const logged = (list) => {
    const [, last] = list.findLast(([room]) => room === 'group-80');
    return until(
      () => witness.seen.at(-1)?.[1] === last,
      () => `${last} in the log, and not only ${witness.seen.at(-1)?.[1]}`,
    );
  };
  await drop(socket);
  const list = numbers(1, 4_000).map((n) => [n % 40 === 0 ? 'group-80' : n % 40 === 20 ? 'user-14' : 'group-81', n]);
  for (const at of numbers(0, 10)) await burst(list.slice(at * 400, at * 400 + 400));
  await logged(list);
  moveTo(socket, pods[1]);
  await back(socket);
  const mine = [['group-80', 0], ...list.filter(([room]) => room !== 'group-81')];
  await until(
    () => socket.seen.length >= mine.length,
    () => `${socket.seen.length} of ${mine.length}`,
  );
  assert.equal(socket.recovered, true);
  assert.deepEqual(socket.seen, mine);
  await drop(socket);
  const more = numbers(0, 1_200).map((n) => ['group-80', n]);
  for (const at of numbers(0, 3)) await burst(more.slice(at * 400, at * 400 + 400));
  await logged(more);
  moveTo(socket, pods[0]);
  await back(socket);
  assert.equal(socket.recovered, false);
  assert.equal(socket.seen.length, mine.length, 'all or nothing');
  await sleep(300);
  await records('group-80', -1);
  await until(() => socket.seen.at(-1)[1] === -1, 'the next');
  socket.close();
  witness.close();
});

test('a key that expires closes nobody, and who comes back is who it was', async () => {
  await signIn('heidi', 9, [60]);
  const socket = await client(pods[0], 'heidi');
  await redis.cli('DEL', '/current_users/heidi');
  await records('group-60', 1);
  await until(() => socket.seen.length === 1, 'a record');
  await drop(socket);
  await records('user-9', 2);
  moveTo(socket, pods[1]);
  await back(socket);
  await until(() => socket.seen.length === 2, 'what it missed');
  assert.deepEqual(
    [socket.recovered, socket.seen],
    [
      true,
      [
        ['group-60', 1],
        ['user-9', 2],
      ],
    ],
  );
  // Without its session the token is nobody's.
  const guest = await client(pods[1], 'heidi');
  await records('user-9', 3);
  await until(() => socket.seen.length === 3, 'the next');
  assert.deepEqual(guest.seen, []);
  socket.close();
  guest.close();
});

test('pages of others are refused with 403, those of the application are not', async () => {
  for (const [origin, status] of [
    ['https://evil.example.com', 403],
    [APP, 200],
  ]) {
    const answer = await curl(`${url(pods[0])}/socket.io/?EIO=4&transport=polling`, '-H', `Origin: ${origin}`);
    assert.equal(answer.status, status, origin);
  }
});

describe('chatbots', () => {
  const SECRET = 'syt_a-secret-that-nobody-logs';
  const config = (more) => ({ server: matrix.url, access_token: SECRET, channel: '#team:example.org', ...more });
  const bot = (channel, message) => redis.cli('PUBLISH', `chatbot/${channel}`, JSON.stringify(message));
  const series = (result) => `roomcast_chatbot_messages_total{result="${result}"}`;

  test('a message goes into a Matrix room, once, whatever the number of pods', async () => {
    const before = matrix.calls.length;
    await bot('test', { ...config(), message: 'Is it you?' });
    await bot('publish', {
      config: config({ channel: '!id2:example.org' }),
      payload: { html: '<p>A <b>poll</b> closed</p>' },
    });
    const sent = () => matrix.calls.slice(before);
    await until(
      () => sent().filter(({ method }) => method === 'PUT').length === 2,
      () => JSON.stringify(sent()),
    );
    await sleep(500);
    assert.equal(sent().length, 3, JSON.stringify(sent()));
    const [look] = sent().filter(({ method }) => method === 'GET');
    assert.equal(look.url, '/_matrix/client/r0/directory/room/%23team%3Aexample.org');
    const puts = sent()
      .filter(({ method }) => method === 'PUT')
      .sort((a, b) => a.url.length - b.url.length);
    assert.match(puts[0].url, /^\/_matrix\/client\/r0\/rooms\/%21id%3Aexample\.org\/send\/m\.room\.message\/[\w-]+$/);
    assert.match(puts[1].url, /^\/_matrix\/client\/r0\/rooms\/%21id2%3Aexample\.org\/send\/m\.room\.message\/[\w-]+$/);
    assert.deepEqual(JSON.parse(puts[0].body), { msgtype: 'm.text', body: 'Is it you?' });
    assert.deepEqual(JSON.parse(puts[1].body), {
      msgtype: 'm.text',
      body: 'A poll closed',
      format: 'org.matrix.custom.html',
      formatted_body: '<p>A <b>poll</b> closed</p>',
    });
    assert.ok(sent().every(({ token }) => token === `Bearer ${SECRET}`));
  });

  test('a server that is busy is tried again, under the same transaction; one that says no is not', async () => {
    const before = matrix.calls.length;
    matrix.answers.push(
      { when: '/send/', status: 429, body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 50 } },
      { when: '/send/', status: 502, headers: { 'retry-after': '0' } },
    );
    await bot('test', { ...config({ channel: '!busy:example.org' }), message: 'again' });
    const sent = (part) => matrix.calls.slice(before).filter(({ url }) => url.includes(part));
    await until(
      () => sent('busy').length === 3,
      () => JSON.stringify(sent('busy')),
    );
    assert.equal(new Set(sent('busy').map(({ url }) => url)).size, 1);
    const failed = await metric(series('failed'));
    matrix.answers.push({ when: 'directory', status: 403, body: { errcode: 'M_FORBIDDEN', error: SECRET } });
    await bot('test', { ...config({ channel: '#no:example.org' }), message: 'no' });
    await until(async () => (await metric(series('failed'))) === failed + 1, 'a failure');
    assert.equal(sent('%23no').length, 1);
  });

  test('without a channel it goes to a webhook', async () => {
    const before = matrix.calls.length;
    const payload = { text: 'a poll closed', blocks: [{ type: 'section' }] };
    await bot('publish', { config: { server: `${matrix.url}/services/T1/B2` }, payload });
    await until(() => matrix.calls.length > before, 'a call');
    const { method, url, token, body } = matrix.calls[before];
    assert.deepEqual([method, url, token, JSON.parse(body)], ['POST', '/services/T1/B2', undefined, payload]);
  });

  test('other servers are never called; what makes no sense is counted', async () => {
    const before = matrix.calls.length;
    const [refused, unfit] = [await metric(series('refused')), await metric(series('unfit'))];
    const port = Number(new URL(matrix.url).port);
    const others = [
      `http://localhost:${port}`,
      `http://127.0.0.1:${redis.port}`,
      'http://169.254.169.254',
      `http://[::ffff:127.0.0.1]:${port}`,
    ];
    for (const server of others) await bot('test', { ...config({ server }), message: 'x' });
    for (const message of [
      {},
      config({ server: `http://user@127.0.0.1:${port}` }),
      { ...config({ channel: 'general' }), message: 'x' },
      { ...config() },
    ]) {
      await bot('test', message);
    }
    await redis.cli('PUBLISH', 'chatbot/publish', 'no JSON');
    await until(async () => (await metric(series('refused'))) - refused === others.length, 'refusals');
    await until(async () => (await metric(series('unfit'))) - unfit === 5, 'what is unfit');
    assert.equal(matrix.calls.length, before);
  });

  test('a server that hangs holds up its own room only, and a full queue is named', async () => {
    const before = matrix.calls.length;
    matrix.answers.push({ when: 'hangs', hang: true });
    await bot('test', { ...config({ channel: '!hangs:example.org' }), message: 'x'.repeat(25_000) });
    await bot('test', { ...config({ channel: '!hangs:example.org' }), message: 'y'.repeat(25_000) });
    const full = await metric(series('full'));
    await bot('test', { ...config({ channel: '!hangs:example.org' }), message: 'z'.repeat(25_000) });
    await until(async () => (await metric(series('full'))) === full + 1, 'a full queue');
    const sent = (part) => matrix.calls.slice(before).filter(({ url }) => url.includes(part));
    // One of a few rooms has a lane of its own.
    for (const n of numbers(0, 4))
      await bot('test', { ...config({ channel: `!quick${n}:example.org` }), message: 'now' });
    await until(
      () => sent('quick').length >= 3,
      () => JSON.stringify(sent('quick').length),
    );
    assert.equal(sent('hangs').length, 1);
    // After its time-out it is tried again, and what waited behind it follows in order.
    await until(
      () => sent('hangs').length === 3,
      () => JSON.stringify(sent('hangs').length),
    );
    assert.deepEqual(
      sent('hangs').map(({ body }) => JSON.parse(body).body[0]),
      ['x', 'x', 'y'],
    );
    assert.ok(
      pods.some(({ log }) => log.includes('`chatbots.queue` is full')),
      'it is logged',
    );
  });

  test('the other pod goes on when the one that sends dies', async () => {
    const before = matrix.calls.length;
    const sent = () => matrix.calls.slice(before).filter(({ url }) => url.includes('after'));
    pods[0].process.kill('SIGKILL');
    await pods[0].exit;
    assert.ok(!pods.some(({ log }) => log.includes(SECRET)), 'a token was logged');
    let n = 0;
    for (const deadline = Date.now() + 20_000; sent().length === 0; n++) {
      assert.ok(Date.now() < deadline, 'nobody took over');
      await bot('test', { ...config({ channel: '!after:example.org' }), message: String(n) });
      await sleep(200);
    }
    pods[0] = await start(pods[0].ports, ...TRACED);
    const last = n;
    for (const m of numbers(last, last + 5))
      await bot('test', { ...config({ channel: '!after:example.org' }), message: String(m) });
    await until(() => sent().length && JSON.parse(sent().at(-1).body).body === String(last + 4), 'the last');
    await sleep(500);
    const bodies = sent().map(({ body }) => JSON.parse(body).body);
    assert.deepEqual(bodies, [...new Set(bodies)], 'each was sent once');
    assert.ok(!pods.some(({ log }) => log.includes(SECRET)), 'a token was logged');
  });
});

describe('hocuspocus', () => {
  const ask = (pod, body, ...args) =>
    curl(
      `${url(pod)}/api/hocuspocus`,
      '-H',
      'Content-Type: application/json',
      ...(args.length ? args : ['--data', JSON.stringify(body)]),
    );

  test('200, 400, 401, 403', async () => {
    await signIn('abc-def-ghi', 123, [5]);
    const secret = '123,abc-def-ghi';
    for (const [user_secret, document_name, status] of [
      [secret, 'user-123-short_bio', 200],
      [secret, 'group-5-description', 200],
      [secret, 'comment-new-123-body', 200],
      [secret, 'discussionTemplate-new-123', 200],
      [secret, 'user-124-short_bio', 403],
      [secret, 'group-6-description', 403],
      [secret, 'comment-new-124-body', 403],
      [secret, 'comment-456-body', 403],
      [secret, 'stance-1-reason', 403],
      [secret, 'event-456-body', 400],
      [secret, 'comment', 400],
      [secret, 'comment-x-body', 400],
      [secret, '', 400],
      ['124,abc-def-ghi', 'user-124-short_bio', 401],
      ['123,another', 'user-123-short_bio', 401],
      ['0,abc-def-ghi', 'comment-456-body', 401],
      ['0123,abc-def-ghi', 'user-123-short_bio', 401],
      ['123', 'user-123-short_bio', 401],
      ['', 'user-123-short_bio', 401],
      ['123,', 'user-123-short_bio', 401],
      ['123,x} y', 'user-123-short_bio', 401],
    ]) {
      const answer = await ask(pods[1], { user_secret, document_name });
      assert.equal(answer.status, status, `${user_secret} ${document_name}: ${answer.text}`);
    }
    for (const body of [
      '',
      'no JSON',
      '[]',
      '{"user_secret":1,"document_name":"user-1"}',
      `{"user_secret":"${'x'.repeat(20_000)}"}`,
    ]) {
      assert.equal((await ask(pods[1], null, '--data', body)).status, 400, body.slice(0, 60));
    }
    for (const [body, status] of [
      ['{}', 401],
      ['{"user_secret":null,"document_name":"user-1"}', 401],
      ['{"user_secret":"123,another"}', 401],
      ['{"user_secret":"123,abc-def-ghi"}', 400],
      ['{"user_secret":"1,x","user_secret":"123,abc-def-ghi","document_name":"user-123"}', 200],
    ]) {
      assert.equal((await ask(pods[1], null, '--data', body)).status, status, body);
    }
    const compressed = ['--header', 'Content-Encoding: gzip', '--data', 'not read'];
    assert.equal((await ask(pods[1], null, ...compressed)).status, 415);
    assert.equal((await ask(pods[1], null, '--request', 'GET')).status, 405);
    assert.equal(await metric('roomcast_document_answers_total{status="403"}'), 5);
  });

  test('what the pod cannot say the application does', async () => {
    const pod = await start(
      undefined,
      ...TRACED,
      '--hocuspocus-hook',
      `${matrix.url}/api/hocuspocus`,
      '--hocuspocus-timeout',
      '500ms',
    );
    try {
      await signIn('abc-def-ghi', 123, [5]);
      const secret = '123,abc-def-ghi';
      const before = matrix.calls.length;
      for (const [user_secret, document_name, answer, status] of [
        [secret, 'comment-456-body', { status: 200 }, 200],
        [secret, 'comment-457-body', { status: 403 }, 403],
        ['9,of-an-older-session', 'comment-457-body', { status: 200 }, 200],
        ['9,of-nobody', 'comment-457-body', { status: 401 }, 401],
        [secret, 'poll-1-details', { status: 500 }, 503],
        [secret, 'poll-1-details', { status: 302, headers: { location: '/x' } }, 503],
        [secret, 'poll-1-details', { hang: true }, 503],
      ]) {
        matrix.answers.push({ when: '/api/hocuspocus', ...answer });
        assert.equal((await ask(pod, { user_secret, document_name })).status, status, document_name);
        assert.deepEqual(JSON.parse(matrix.calls.at(-1).body), { user_secret, document_name });
      }
      assert.equal(matrix.calls.length - before, 7);
      assert.equal((await ask(pod, { user_secret: secret, document_name: 'group-5-description' })).status, 200);
      assert.equal(matrix.calls.length - before, 7, 'what the pod knows it asks nobody');
      assert.ok(!pod.log.includes('of-an-older-session') && !pod.log.includes('abc-def-ghi'), 'a token was logged');
    } finally {
      await pod.stop();
    }
  });
});

// The last: two pods may have the lease on plain messages for a moment when Redis forgets it.
test('an offset or a session that is none begins anew; so does a log that is gone', async () => {
  await signIn('ivan', 13, [70]);
  const socket = await client(pods[0], 'ivan');
  await records('group-70', 1);
  await until(() => socket.seen.length === 1, 'a record');
  const { id, _lastOffset } = socket;
  for (const [pid, offset] of [
    [socket._pid, 'nonsense'],
    ['aaaaaaaaaaaaaaaaaaaa', _lastOffset],
    [socket._pid, _lastOffset.replace(/~[^~]*~/, '~zzzz~')],
  ]) {
    await drop(socket);
    Object.assign(socket, { _pid: pid, _lastOffset: offset });
    await back(socket);
    assert.equal(socket.recovered, false, offset);
    assert.notEqual(socket.id, id);
    await sleep(300);
    const count = socket.seen.length;
    await records('group-70', 2);
    await until(() => socket.seen.length === count + 1, 'the next record');
  }
  await drop(socket);
  const before = socket.id;
  // What the pod writes of a session that ends must not come behind the loss.
  await sleep(500);
  await redis.cli('FLUSHALL');
  await signIn('ivan', 13, [70]);
  await back(socket);
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, before);
  await sleep(300);
  const count = socket.seen.length;
  await until(
    async () => (await records('group-70', 3), await sleep(200), socket.seen.length > count),
    'the next record',
  );
  socket.close();
});
