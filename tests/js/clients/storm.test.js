// The short form of `storm/storm.js`: one round of weather that changes fast; and whether its checker finds faults.
//
//   CLIENTS   how many; default 20

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Ledger } from '../storm/ledger.js';
import { storm, troubles } from '../storm/storm.js';
import { TURNS } from '../storm/weather.js';
import { load } from '../support/typescript.js';

const { named } = await load('options');
const CLIENTS = Number(process.env.CLIENTS ?? 20);

const text = ({ count, p50, p99 }) => `${count}, half of them within ${Math.round(p50)} ms, 99 % ${Math.round(p99)} ms`;

/** A client of which `make`, for each of its connections, changes what is said and heard. */
const faulty = (make) =>
  named(['websocket', 'poll']).map((transport) => ({
    ...transport,
    dial(to, on) {
      const { send = (command) => command, hears = (message) => message } = make;
      const link = transport.dial(to, { ...on, message: (message, ...more) => on.message(hears(message), ...more) });
      return { send: (command) => link.send(send(command)), close: () => link.close() };
    },
  }));

let keys = 0;
const planted = {
  'skips what it missed': {
    kind: 'lost',
    transports: faulty({
      send: ({ since, ...command }) => command,
      hears: (message) => (message.type === 'subscribed' ? { ...message, recovered: true } : message),
    }),
  },
  'sends a publish whose answer was lost as another one': {
    kind: 'twice',
    transports: faulty({
      send: (command) => (command.type === 'publish' ? { ...command, idempotency_key: `key ${++keys}` } : command),
    }),
  },
  'tells what it missed in the wrong order': {
    kind: 'disordered',
    transports: faulty({
      hears: (message) => (message.events ? { ...message, events: message.events.toReversed() } : message),
    }),
  },
};

// At the same time: most of it is waiting.
describe('a storm', { concurrency: true }, () => {
  test(`${CLIENTS} clients in bad weather lose nothing, see nothing twice, and see one order`, async (t) => {
    const result = await storm({ clients: CLIENTS, pace: 400, haste: 4 });
    const { published, deliveries, tokens, back, deaths, reads, errors } = result;
    t.diagnostic(
      `${published} publishes, ${deliveries} events, ${tokens} tokens; errors told: ${JSON.stringify(errors)}`,
    );
    t.diagnostic(`connected after the network was back: ${text(back)}`);
    for (const { clients, attempts, first, last, mostIn100Ms } of deaths)
      t.diagnostic(
        `a pod of ${clients} died: ${attempts} connections were begun from ${Math.round(first)} to ${Math.round(last)} ms, at most ${mostIn100Ms} in 100 ms`,
      );
    t.diagnostic(`${reads.untold} of ${reads.authors} authors had missed their last receipt`);
    assert.deepEqual(troubles(result), []);
    assert.ok(published > CLIENTS && deliveries > 2 * published, 'hardly anything happened');
    assert.ok(back.count > CLIENTS / 2 && deaths.length === 1, 'the weather was good');
  });

  const turns = TURNS.filter(([name]) => name === 'answers are lost');
  for (const [name, { kind, transports }] of Object.entries(planted)) {
    test(`whose checker finds a client that ${name}`, async () => {
      const result = await storm({
        clients: 20,
        pace: 200,
        haste: 2,
        patience: 5_000,
        turns,
        transports,
        reads: false,
      });
      assert.ok(result[kind] > 0, JSON.stringify(result));
    });
  }
});

test('the checker names each fault of a log, and of what was seen of it', () => {
  const judged = (saw, log, answered = [], heads = 3) => {
    const ledger = new Ledger();
    ledger.told('ann', 'r', 'joined', 0);
    for (const [offset, id] of saw) ledger.saw('ann', 'r', offset, id);
    for (const [id, offset] of answered) ledger.answered('r', id, offset);
    ledger.log('r', log);
    const { lost, twice, disordered } = ledger.judge(new Map([['r', heads]]));
    return [lost, twice, disordered];
  };
  const log = [1, 2, 3].map((n) => [n, `bob:${n}`]);
  const [one, two, three] = log;
  assert.deepEqual(judged(log, log, [['bob:2', 2]]), [0, 0, 0]);
  assert.deepEqual(judged([one, three], log), [1, 0, 0]);
  assert.deepEqual(judged([one, two], log), [1, 0, 0]);
  assert.deepEqual(judged([one, two, two, three], log), [0, 1, 0]);
  assert.deepEqual(judged([one, three, two], log), [0, 0, 1]);
  assert.deepEqual(judged([one, two, [3, 'bob:9']], log), [0, 0, 1], 'another event stands there');
  assert.deepEqual(judged(log, log, [['bob:4', 4]]), [1, 0, 0], 'a publish is not there');
  assert.deepEqual(judged([], [...log, [4, 'bob:2']], [], 0), [0, 1, 1], 'a publish is there twice');
  assert.deepEqual(judged([], [two, one], [], 0), [0, 0, 1], 'publishes are out of order');
});
