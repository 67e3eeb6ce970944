// The presence of users where pods are killed, and over Socket.IO and `POST /send`: real processes, a real Redis, written from the
// documents alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { io } from 'socket.io-client';

import { Client } from '../support/client.js';
import { Pod } from '../support/pod.js';
import { Redis, RedisCluster } from '../support/redis.js';
import { SECRET, token } from '../support/tokens.js';

const PATIENCE = 60_000;

const config = (rest = '') => `[tokens]
hmac_secrets = ["${SECRET}"]
[[policy]]
match = ["presence:*"]
publish = "nobody"
retain = "room"
[limits]
max_rooms = 1000
[user_presence]
room = "presence:{user}"
${rest}`;

const connect = (pod, user) => Client.open(pod.plainUrl, { headers: { Authorization: `Bearer ${token(user)}` } });

const until = async (holds, what) => {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(50)) if (await holds()) return;
  throw new Error(`${what()}, after ${PATIENCE} ms`);
};

/** A client that follows users, and what it was told of each. */
async function follow(pod, users) {
  const client = await Client.open(pod.plainUrl);
  const told = new Map(users.map((user) => [user, []]));
  client.ws.on('message', (text) => {
    const message = JSON.parse(text);
    if (message.type === 'gap') throw new Error(`${text}`);
    for (const { data, id } of message.events ?? []) told.get(data.user).push({ ...data, id });
  });
  for (const user of users) await client.subscribe(`presence:${user}`);
  return { client, told, statuses: (user) => told.get(user).map(({ status }) => status) };
}

for (const kind of [Redis, RedisCluster]) {
  test(`of a pod that is killed each user is told of once, and none that came back (${kind.name})`, async () => {
    const redis = await kind.start();
    const fleet = () => Pod.start({ config: config(), args: ['--redis', redis.url, '--redis-lease', '2s'] });
    const [dying, staying, third] = await Promise.all([fleet(), fleet(), fleet()]);
    try {
      const users = Array.from({ length: 40 }, (_, n) => `u${n}`);
      const follower = await follow(staying, [...users, 'mark']);
      const clients = await Promise.all(users.map((user) => connect(dying, user)));
      for (const client of clients) client.ws.on('error', () => {});
      const all = (status) => users.every((user) => follower.statuses(user).at(-1) === status);
      await until(
        () => all('online'),
        () => 'not all are told to be online',
      );
      dying.process.kill('SIGKILL');
      const killed = Date.now();
      const [returning, gone] = [users.slice(0, 20), users.slice(20)];
      await Promise.all(returning.map((user, n) => connect(n % 2 ? staying : third, user)));
      await until(
        () => gone.every((user) => follower.statuses(user).at(-1) === 'offline'),
        () => `not all are told to be offline: ${gone.map((user) => follower.statuses(user))}`,
      );
      console.log(
        `told ${((Date.now() - killed) / 1000).toFixed(1)} s after the death, where 2 x 1.25 and 10 are allowed`,
      );
      await connect(third, 'mark');
      await until(
        () => follower.statuses('mark').length,
        () => 'the marker is not told of',
      );
      for (const user of returning) assert.deepEqual(follower.statuses(user), ['online'], user);
      for (const user of gone) assert.deepEqual(follower.statuses(user), ['online', 'offline'], user);
      for (const events of follower.told.values()) assert.ok(events.every(({ id }, n) => !n || id > events[n - 1].id));
    } finally {
      await Promise.all([staying.end(30_000), third.end(30_000), dying.end(1_000)]);
      await redis.stop();
    }
  });
}

test('over Socket.IO and POST /send', async () => {
  const pod = await Pod.start({ config: config('[socketio]\nenabled = true\n') });
  try {
    const follower = await follow(pod, ['ann', 'bob']);
    const url = `http://127.0.0.1:${pod.plainPort}`;
    const ann = io(url, { transports: ['websocket'], auth: { token: token('ann') } });
    await new Promise((connected) => ann.on('connect', connected));
    const answer = await ann.timeout(10_000).emitWithAck('status', { status: 'away' });
    assert.equal(answer.type ?? 'done', 'done', JSON.stringify(answer));
    await until(
      () => follower.statuses('ann').at(-1) === 'away',
      () => `ann is ${follower.statuses('ann')}`,
    );
    await connect(pod, 'bob');
    const sent = await fetch(`${url}/send`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token('bob')}` },
      body: JSON.stringify(['busy', 'x'].map((status, n) => ({ type: 'status', id: n + 1, status }))),
    });
    const text = await sent.text();
    assert.equal(sent.status, 200, text);
    assert.match(text, /"done","id":1/);
    assert.match(text, /"bad_request"/);
    await until(
      () => follower.statuses('bob').at(-1) === 'busy',
      () => `bob is ${follower.statuses('bob')}`,
    );
    ann.disconnect();
  } finally {
    await pod.stop();
  }
});

test('of one that hides nothing is in Redis, nor told', async () => {
  const redis = await Redis.start();
  const fleet = () => Pod.start({ config: config(), args: ['--redis', redis.url] });
  const [a, b] = await Promise.all([fleet(), fleet()]);
  try {
    const put = async (body) => {
      const { status, text } = await a.curl(
        '/api/v1/presence',
        '-X',
        'PUT',
        '-H',
        `Authorization: Bearer ${Pod.key}`,
        '-d',
        JSON.stringify(body),
      );
      assert.equal(status, 200, text);
    };
    await put({ user: 'ann', hidden: true });
    const [before] = await keys(redis);
    const follower = await follow(b, ['ann', 'bob']);
    const ann = await Promise.all([connect(a, 'ann'), connect(b, 'ann')]);
    await ann[0].close();
    await connect(b, 'bob');
    await until(
      () => follower.statuses('bob').length,
      () => 'bob is not told of',
    );
    assert.deepEqual(follower.statuses('ann'), []);
    const after = await keys(redis);
    assert.ok(after.includes(before), 'what is stored of ann did not change');
    assert.equal(
      after.filter((line) => line.includes('ann') && line !== before && !line.includes(':room:presence:ann')).length,
      0,
      `${after}`,
    );
    assert.ok(!before.includes('last_seen":1') && !before.includes('pods'), before);
  } finally {
    await Promise.all([a.end(30_000), b.end(30_000)]);
    await redis.stop();
  }
});

/** All keys and what they hold. */
async function keys(redis) {
  const names = (await redis.cli('KEYS', '*')).split('\n').filter(Boolean);
  const reads = {
    string: ['GET'],
    set: ['SMEMBERS'],
    hash: ['HGETALL'],
    zset: ['ZRANGE', '0', '-1'],
    stream: ['XRANGE', '-', '+'],
  };
  const held = async (name) => {
    const [command, ...rest] = reads[await redis.cli('TYPE', name)] ?? [];
    // It may be over by now.
    return command ? `${name} ${(await redis.cli(command, name, ...rest)).replaceAll('\n', ' ')}` : name;
  };
  const all = await Promise.all(names.map(held));
  return all.sort((x, y) => Number(y.includes(':user:')) - Number(x.includes(':user:')));
}
