// What the checker of people takes for a fault of the presence, and what not: it must not find what is as promised.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Record } from '../people/record.js';
import { judge } from '../people/verdict.js';

const TIMES = { lease: 10_000, debounce: 10_000, slack: 3_000 };
const BEGAN = 1_000_000;

/** What is found of a user's presence; all times from the beginning of the run. */
function faults({ open, chose = [], told, ends = [], over = 100_000 }) {
  const record = new Record();
  const device = { name: 'u-0', channels: new Map() };
  record.device(device, 'u');
  const at = (time) => BEGAN + time;
  record.presence.set(
    'u',
    open.map(([time, open]) => ({ at: at(time), open, device })),
  );
  record.chosen.set(
    'u',
    chose.map(([status, time]) => ({ status, sent: at(time), answered: at(time + 2) })),
  );
  for (const [n, [status, time]] of told.entries())
    record.tells('watcher', 'u', { status, id: n + 1, time: at(time), offset: n + 1 });
  const of = (end) => ({ ...end, at: at(end.at) });
  return judge(record, { ends: ends.map(of), times: TIMES, began: BEGAN, over: at(over) }).presence;
}

test('a user that goes is offline after the debounce', () => {
  const open = [
    [-500, true],
    [40_000, false],
  ];
  assert.deepEqual(
    faults({
      open,
      told: [
        ['online', -400],
        ['offline', 50_001],
      ],
    }),
    [],
  );
  assert.match(faults({ open, told: [['online', -400]] })[0], /^u: gone at 40000, shown as online at 53000/);
});

test('a pod that died shortly before counts its users as there until its lease is over', () => {
  const open = [
    [-500, true],
    [40_000, false],
  ];
  const told = [
    ['online', -400],
    ['offline', 59_000],
  ];
  assert.deepEqual(faults({ open, told, ends: [{ at: 37_000, how: 'SIGKILL' }] }), []);
  assert.deepEqual(faults({ open, told, ends: [{ at: 40_000, how: 'SIGKILL' }] }), []);
  assert.deepEqual(faults({ open, told, ends: [{ at: 48_000, how: 'SIGTERM' }] }), []);
  assert.equal(faults({ open, told, ends: [{ at: 20_000, how: 'SIGKILL' }] }).length, 1);
  assert.equal(faults({ open, told, ends: [{ at: 37_000, how: 'SIGTERM' }] }).length, 1);
});

test('a pod that died holds up nothing for longer than its lease and the debounce', () => {
  const open = [
    [-500, true],
    [40_000, false],
  ];
  const told = [
    ['online', -400],
    ['offline', 66_000],
  ];
  assert.equal(faults({ open, told, ends: [{ at: 37_000, how: 'SIGKILL' }] }).length, 1);
});

test('a choice is shown until the next one, which may be told in the millisecond in which it is sent', () => {
  const open = [[-500, true]];
  const chose = [
    ['busy', 20_000],
    ['away', 30_000],
  ];
  const told = [
    ['online', -400],
    ['busy', 20_003],
    ['away', 30_000],
  ];
  assert.deepEqual(faults({ open, chose, told }), []);
  assert.match(faults({ open, chose, told: told.toSpliced(1, 1) })[0], /^u: chose busy, shown as online at 30000/);
});
