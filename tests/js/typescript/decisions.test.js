// What the TypeScript client decides without a network: when to come back, which way to try first, when to renew a token.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { load } from '../support/typescript.js';

const { advice, pause } = await load('close_codes');
const { choice, endpointOf } = await load('choice');
const { renewIn } = await load('credentials');

test('every close code of the protocol is dealt with as its table says', async () => {
  const protocol = await readFile(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8');
  const table = protocol.split('\n## Close codes\n')[1].matchAll(/^\| (\d{4}) \|[^|]*\| ([a-z ]+) \|$/gm);
  const rows = [...table].map(([, code, way]) => [Number(code), way]);
  assert.ok(rows.length >= 16, 'the table is no longer where it was');
  const words = { no: 'never', soon: 'soon', later: 'later', 'with a new token': 'token' };
  for (const [code, way] of rows) assert.equal(advice(code), words[way], `${code}`);
  assert.equal(advice(1006), 'soon');
  assert.equal(advice(4999), 'soon');
});

test('pauses grow, have a full jitter, and stay below 30 s', () => {
  const [least, most] = [() => 0, () => 0.999_999];
  assert.equal(pause(1006, 0, least), 0);
  assert.ok(pause(1006, 0, most) <= 250);
  assert.ok(pause(1006, 4, most) > 3_000);
  assert.ok(pause(1006, 50, most) <= 30_000);
  assert.ok(pause(1012, 0, least) >= 2_000, 'later is not soon');
  assert.ok(pause(1013, 9, most) <= 32_000);
});

test('a pause that the server named is never cut short', () => {
  for (const code of [1006, 1012, 1013]) {
    assert.equal(
      pause(code, 7, () => 0, 12_500),
      12_500,
    );
    assert.ok(pause(code, 0, () => 0.5, -5) < 250);
  }
});

test('addresses of a server are taken in any usual form', () => {
  for (const url of ['wss://host/ws', 'https://host', 'https://host/', 'https://host/ws/']) {
    assert.equal(endpointOf(url), 'https://host');
  }
  assert.equal(endpointOf('ws://localhost:8080'), 'http://localhost:8080');
  assert.equal(endpointOf('https://host/edge/ws'), 'https://host/edge');
  assert.equal(endpointOf('/edge', 'https://page'), 'https://page/edge');
  assert.throws(() => endpointOf('host:80'), /"host:80" is not like https:/);
  assert.throws(() => endpointOf('/ws', undefined), TypeError);
});

const transports = ['webtransport', 'websocket', 'poll'].map((name) => ({ name }));
const order = (of, now) =>
  of
    .candidates(now)
    .sort((one, other) => one.after - other.after)
    .map(({ transport, endpoint }) => `${transport.name} ${endpoint}`);

test('what worked the last time is tried first, for a day', () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
  const first = choice(transports, ['https://a', 'https://b'], () => storage);
  assert.deepEqual(order(first, 0).slice(0, 3), [
    'webtransport https://a',
    'webtransport https://b',
    'websocket https://a',
  ]);
  first.remember({ transport: transports[1], endpoint: 'https://b' }, 1_000);
  const again = choice(transports, ['https://a', 'https://b'], () => storage);
  assert.deepEqual(order(again, 2_000).slice(0, 2), ['websocket https://b', 'websocket https://a']);
  assert.equal(order(again, 2_000).length, 6, 'nothing is left out');
  assert.equal(order(again, 1_000 + 25 * 3_600_000)[0], 'webtransport https://a');
});

test('a storage that is forbidden, full or holds something else harms nothing', () => {
  const forbidden = () => {
    throw new Error('forbidden');
  };
  const full = { getItem: () => null, setItem: forbidden };
  for (const storage of [
    forbidden,
    () => full,
    () => ({ getItem: () => '{"at":', setItem() {} }),
    () => null,
    () => undefined,
  ]) {
    const first = choice(transports, ['https://a'], storage);
    first.remember({ transport: transports[1], endpoint: 'https://a' }, 1);
    assert.equal(order(first, 2)[0], 'webtransport https://a');
  }
});

test('a token is renewed before it ends', () => {
  assert.equal(renewIn(3_600_000, 0), 3_480_000, 'two minutes before');
  assert.equal(renewIn(60_000, 0), 48_000, 'a fifth of its life before');
  assert.equal(renewIn(0, 1), 1_000, 'no storm where clocks differ');
});
