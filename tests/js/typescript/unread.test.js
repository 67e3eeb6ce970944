// What a user has not read, and which users have read what it wrote: against a pod in memory, with a clock that the test moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chance } from '../support/chance.js';
import { load } from '../support/typescript.js';
import { world } from '../support/world.js';

const { commands } = await load('commands');
const { settled } = await load('testing');
const { receipts } = await load('receipts');
const { unread } = await load('unread');

/** What clients sent of a type to a pod. */
const sentTo = (pod, type) => pod.commands.filter((command) => command.type === type);

const counts = ({ snapshot: { rooms, total } }) => ({
  ...Object.fromEntries([...rooms].map(([room, { unread }]) => [room, unread])),
  total,
});

test('what comes is counted, and what is read on one device is read on all', async () => {
  const { clock, pod, connect, reported } = world();
  for (const n of [1, 2, 3]) pod.publish('a', 't', n);
  const [phone, desk] = [connect('ann'), connect('ann')];
  const here = unread(phone, 'a');
  const there = unread(desk, 'a', 'b');
  let changes = 0;
  here.onChange(() => {
    throw new Error('a listener');
  });
  here.onChange(() => (changes += 1));
  await settled();
  assert.deepEqual(
    [counts(here), counts(there)],
    [
      { a: 3, total: 3 },
      { a: 3, b: 0, total: 3 },
    ],
  );
  const before = here.snapshot;
  assert.equal(here.snapshot, before, 'the same until something changes');
  pod.publish('a', 't', 4);
  pod.publish('b', 't', 1);
  assert.deepEqual(
    [counts(here), counts(there)],
    [
      { a: 4, total: 4 },
      { a: 4, b: 1, total: 5 },
    ],
  );
  assert.equal(before.total, 3, 'a snapshot stays as it is');
  here.read('a', { ...here.snapshot.rooms.get('a').position, offset: 2 });
  assert.deepEqual(counts(here), { a: 2, total: 2 }, 'at once, before the server says so');
  await settled();
  assert.deepEqual(counts(there), { a: 2, b: 1, total: 3 });
  there.read('b');
  there.read('a');
  await clock.advance(1_000);
  assert.deepEqual(
    [counts(here), counts(there)],
    [
      { a: 0, b: 0, total: 0 },
      { a: 0, b: 0, total: 0 },
    ],
  );
  assert.ok(changes >= 4);
  pod.publish('b', 't', 2);
  assert.deepEqual([counts(here).b, counts(there).b], [0, 1], 'only what is followed is counted with each event');
  here.follow('b', 'b');
  await settled();
  assert.deepEqual(counts(here), { a: 0, b: 1, total: 1 });
  assert.ok(reported.every(({ message }) => message === 'a listener'));
  assert.equal(sentTo(pod, 'ack').length, 3);
  here.close();
  await settled();
  assert.deepEqual(phone.rooms, []);
});

test('what is read before its room is joined, or before it is known what is unread, is read', async () => {
  const { clock, pod, connect, reported } = world();
  for (const n of [1, 2, 3]) for (const room of ['a', 'b', 'late']) pod.publish(room, 't', n);
  const { epoch } = pod.publish('b', 't', 4);
  // Without a personal room nothing says what the server has taken in.
  pod.tamper = (message) => {
    const isHeld = message.type === 'subscribed' && message.room === 'late';
    return isHeld || (message.type === 'unread' && message.id === undefined) ? undefined : message;
  };
  const own = unread(connect('ann'), 'a', 'b', 'late', 'closed');
  own.read('a');
  own.read('a');
  own.read('late');
  own.read('closed');
  own.read('not followed');
  own.read('b', { epoch, offset: 3 });
  await clock.advance(2_000);
  const acked = () => sentTo(pod, 'ack').map(({ room, offset }) => `${room} ${offset}`);
  assert.deepEqual(acked().toSorted(), ['a 3', 'b 3']);
  assert.deepEqual(counts(own), { a: 0, b: 1, total: 1 });
  pod.publish('a', 't', 4);
  assert.equal(counts(own).a, 1, 'what comes later is not');
  pod.tamper = undefined;
  pod.cut();
  await clock.advance(5_000);
  assert.ok(acked().includes('late 3'), `${acked()}`);
  assert.deepEqual(counts(own), { a: 1, b: 1, late: 0, total: 2 });
  assert.ok(!acked().some((one) => /closed|not/.test(one)));
  assert.deepEqual(
    reported.map(({ code, room }) => [code, room]),
    [['forbidden', 'closed']],
  );
  own.close();
});

test('however often it is read, twice a second is said: the newest', async () => {
  const { clock, pod, connect } = world();
  const own = unread(connect('ann'), 'a');
  await settled();
  for (let n = 1; n <= 20; n++) {
    pod.publish('a', 't', n);
    own.read('a');
    own.read('a');
    await clock.advance(100);
  }
  assert.deepEqual(counts(own), { a: 0, total: 0 });
  await clock.advance(1_000);
  assert.deepEqual(
    sentTo(pod, 'ack').map(({ offset }) => offset),
    [1, 5, 10, 15, 20],
  );
  pod.publish('a', 't', 21);
  own.read('a');
  pod.publish('a', 't', 22);
  own.read('a');
  own.close();
  await settled();
  assert.equal(sentTo(pod, 'ack').at(-1).offset, 22, 'what was read a moment ago is said before it ends');
  own.read('a', { epoch: 'x', offset: 1 });
});

test('after a reconnect it is said again, and asked', async () => {
  const { clock, pod, connect } = world();
  const client = connect('ann');
  const own = unread(client, 'a', 'never');
  pod.publish('never', 't', 1);
  await settled();
  pod.publish('a', 't', 1);
  own.read('a');
  // The pod dies with what it was told.
  await settled();
  pod.isUp = false;
  pod.cut();
  pod.publish('a', 't', 2);
  own.read('a', { ...own.snapshot.rooms.get('a').position, offset: 2 });
  const seen = [];
  own.onChange(() => seen.push(counts(own).never));
  pod.isUp = true;
  await clock.advance(60_000);
  assert.deepEqual(
    sentTo(pod, 'ack').map(({ offset }) => offset),
    [1, 2],
  );
  assert.deepEqual(counts(own), { a: 0, never: 1, total: 1 });
  assert.ok(
    seen.every((unread) => unread === 1),
    'a room that is joined again is counted meanwhile',
  );
  pod.cut();
  await clock.advance(60_000);
  assert.equal(sentTo(pod, 'ack').length, 3, 'and again');
});

test('in a log that is lost everything is asked anew, and a position of it harms nothing', async () => {
  const { clock, pod, connect, reported } = world();
  const own = unread(connect('ann'), 'a');
  await settled();
  for (const n of [1, 2, 3]) pod.publish('a', 't', n);
  const { position } = own.snapshot.rooms.get('a');
  pod.forget('a');
  await settled();
  assert.deepEqual(counts(own), { a: 0, total: 0 });
  own.read('a', { ...position, offset: 3 });
  await clock.advance(1_000);
  pod.publish('a', 't', 1);
  assert.deepEqual([counts(own), reported], [{ a: 1, total: 1 }, []]);
  assert.ok(sentTo(pod, 'unread').length <= 5, 'a new log is asked about, and not again and again');
});

test('a room that cannot be counted is said once, and the others are counted', async () => {
  const { pod, connect, reported } = world();
  pod.publish('b', 't', 1);
  pod.tamper = (message) => {
    const [asked] = sentTo(pod, 'unread').slice(-1);
    if (message.type !== 'unread' || message.id === undefined || !asked.rooms.includes('a')) return message;
    return { type: 'error', id: message.id, code: 'not_available', message: 'nothing is kept', room: 'a' };
  };
  const own = unread(connect('ann'), 'a', 'b', 'closed');
  await settled();
  assert.deepEqual(counts(own), { b: 1, total: 1 });
  assert.deepEqual(reported.map(({ code, room }) => [code, room]).sort(), [
    ['forbidden', 'closed'],
    ['not_available', 'a'],
  ]);
  own.read('a', pod.publish('a', 't', 1));
  pod.publish('a', 't', 2);
  await settled();
  assert.deepEqual(counts(own), { b: 1, total: 1 }, 'nothing is kept of what is read there');
  const guest = unread(connect(undefined), 'b');
  await settled();
  assert.equal(reported.at(-1).code, 'unauthorized');
  assert.deepEqual(counts(guest), { total: 0 });
});

for (const code of ['rate_limited', 'unavailable', 'unknown'])
  test(`what is refused for now, ${code}, is said and asked a little later`, async () => {
    const { clock, pod, connect, reported } = world();
    let refusals = 3;
    pod.publish('a', 't', 1);
    const client = connect('ann');
    pod.tamper = (message) => {
      const command = pod.commands.find(({ id }) => id !== undefined && id === message.id);
      if (!['ack', 'unread'].includes(command?.type) || refusals <= 0) return message;
      refusals -= 1;
      return { type: 'error', id: message.id, code, message: 'not now', room: command.room };
    };
    const own = unread(client, 'a');
    await clock.advance(10_000);
    assert.equal(counts(own).a, 1);
    refusals = 2;
    own.read('a');
    await settled();
    for (const said of [1, 2]) {
      await clock.advance(999);
      assert.equal(sentTo(pod, 'ack').length, said, 'not before a second after it was refused');
      await clock.advance(1);
    }
    await clock.advance(10_000);
    assert.deepEqual([counts(own), reported, refusals], [{ a: 0, total: 0 }, [], 0]);
    assert.equal(sentTo(pod, 'ack').length, 3);
  });

/** Two devices of a user, whose connections are cut while it reads by turns: what each shows in the end, and what is so. */
async function live(seed) {
  const next = chance(seed);
  const pick = (...all) => all[Math.floor(next() * all.length)];
  const { clock, pod, connect, reported } = world();
  const devices = [connect('ann'), connect('ann')].map((client) => unread(client, 'a', 'b'));
  for (let step = 0; step < 40; step++) {
    const [room, device, what] = [pick('a', 'b'), pick(...devices), next()];
    if (what < 0.35) pod.publish(room, 't', step);
    else if (what < 0.65) device.read(room);
    else if (what < 0.75) pod.cut(pick(1006, 1012, 4009));
    else if (what < 0.8) pod.isUp = !pod.isUp;
    else if (what < 0.84) pod.forget(room);
    else if (what < 0.88) pod.tamper = (message) => (message.type === 'unread' && !message.id ? undefined : message);
    else await clock.advance(next() * 3_000);
    if (next() < 0.5) await settled();
  }
  pod.isUp = true;
  pod.tamper = undefined;
  // What was told while the connection stood, and lost, is asked after the next one.
  pod.cut();
  await clock.advance(90_000);
  const faults = reported.map((error) => `reported: ${error}`);
  const judge = connect('ann');
  const asked = commands(judge).request({ type: 'unread', rooms: ['a', 'b'] });
  await settled();
  for (const { room, unread, offset } of (await asked).rooms) {
    for (const device of devices) {
      const { unread: shown, position } = device.snapshot.rooms.get(room) ?? {};
      if (shown !== unread || position.offset !== offset) faults.push(`${room}: ${shown} instead of ${unread}`);
    }
  }
  return faults;
}

test('300 histories of two devices end with the numbers of the server', async () => {
  for (let seed = 1; seed <= 300; seed++) assert.deepEqual(await live(seed), [], `seed ${seed}`);
});

test('authors learn which users have read what they wrote, and how far', async () => {
  const { pod, connect, reported } = world();
  const ann = connect('ann');
  const read = receipts(ann);
  const { publish } = commands(ann);
  ann.connect();
  await settled();
  const [first, , last] = await Promise.all([1, 2, 3].map((n) => publish('dm', 't', n)));
  let changes = 0;
  read.onChange(() => (changes += 1));
  const readers = ['bob', 'cem'].map((user) => [user, unread(connect(user), 'dm')]);
  await settled();
  readers[0][1].read('dm', last);
  readers[1][1].read('dm', first);
  await settled();
  assert.deepEqual(read.readersOf('dm', first).toSorted(), ['bob', 'cem']);
  assert.deepEqual([read.readersOf('dm', last), read.readersOf('other', last)], [['bob'], []]);
  assert.deepEqual(read.readersOf('dm', { ...last, epoch: 'another log' }), []);
  assert.equal(changes, 2);
  const { snapshot } = read;
  assert.equal(read.snapshot, snapshot);
  // What is older changes nothing, and another log replaces it.
  const say = (epoch, offset) => pod.say({ type: 'receipts', receipts: [{ room: 'dm', epoch, offset, user: 'bob' }] });
  say(last.epoch, 1);
  assert.deepEqual(read.readersOf('dm', last), ['bob']);
  say('new', 1);
  assert.deepEqual(read.readersOf('dm', last), []);
  assert.deepEqual(read.snapshot.get('dm').get('bob'), { epoch: 'new', offset: 1 });
  assert.deepEqual(snapshot.get('dm').get('bob'), last, 'a snapshot stays as it is');
  for (let n = 0; n < 1_200; n++) {
    pod.say({ type: 'receipts', receipts: [{ room: `r${n}`, epoch: 'e', offset: 1, user: 'bob' }] });
  }
  assert.deepEqual([read.snapshot.size, read.snapshot.has('dm'), reported], [1_000, false, []]);
  read.close();
  say('newer', 1);
  assert.equal(read.snapshot.has('dm'), false);
});

test('authors learn to whose devices their events have come, over reconnects too', async () => {
  const { clock, pod, connect, reported } = world();
  const [ann, bob] = [connect('ann'), connect('bob')];
  const [own, others] = [receipts(ann), receipts(bob)];
  const { publish } = commands(ann);
  const room = bob.subscribe('dm');
  ann.connect();
  await settled();
  const [first, second, third] = await Promise.all([1, 2, 3].map((n) => publish('dm', 't', n)));
  others.deliver('dm', first);
  await settled();
  assert.deepEqual([own.deliveredTo('dm', first), own.deliveredTo('dm', second)], [['bob'], []]);
  assert.deepEqual(own.readersOf('dm', first), [], 'it has not read');
  // Half a second's are one message.
  others.deliver('dm', second);
  others.deliver('dm', room.position);
  others.deliver('dm', first);
  await clock.advance(499);
  assert.equal(sentTo(pod, 'ack').length, 1);
  await clock.advance(1);
  assert.deepEqual(own.deliveredTo('dm', third), ['bob']);
  const said = sentTo(pod, 'ack');
  assert.deepEqual([said.length, said[1].offset, said[1].delivered], [2, third.offset, true]);
  // Nobody keeps it: what is left unsaid is said over the next connection, and so is what a pod may have lost.
  pod.cut();
  const fourth = { ...third, offset: 4 };
  pod.publish('dm', 't', 4, { user: 'ann' });
  others.deliver('dm', fourth);
  await clock.advance(1_000);
  assert.deepEqual([sentTo(pod, 'ack').length, sentTo(pod, 'ack')[2].offset], [3, 4]);
  // What was read was delivered.
  const cem = connect('cem');
  unread(cem, 'dm').read('dm', second);
  await settled();
  await clock.advance(1_000);
  assert.deepEqual(own.deliveredTo('dm', second).toSorted(), ['bob', 'cem']);
  assert.deepEqual([own.readersOf('dm', second), reported], [['cem'], []]);
});

test('what has come is said again where the server could not take it for now, and given up where it never will', async () => {
  const { clock, pod, connect, reported } = world();
  const bob = connect('bob');
  const own = receipts(bob);
  bob.connect();
  await settled();
  const position = pod.publish('dm', 't', 1);
  let code = 'unavailable';
  // The first command of a connection presents the token.
  pod.tamper = ({ type, id, ...more }) =>
    type === 'done' && id > 1 ? { type: 'error', id, code, ...more } : { type, id, ...more };
  own.deliver('dm', position);
  await settled();
  // A second after the refusal, two after the next one, and so on; no longer than eight.
  let said = 1;
  for (const pause of [1_000, 2_000, 4_000, 8_000, 8_000]) {
    await clock.advance(pause - 1);
    assert.equal(sentTo(pod, 'ack').length, said, `not yet after ${pause - 1} ms`);
    await clock.advance(1);
    said += 1;
    assert.equal(sentTo(pod, 'ack').length, said, `again after ${pause} ms`);
  }
  code = 'forbidden';
  await clock.advance(8_000);
  const before = sentTo(pod, 'ack').length;
  pod.cut();
  await clock.advance(5_000);
  assert.deepEqual([sentTo(pod, 'ack').length, reported], [before, []]);
  own.close();
});

test('of many rooms it is said a few at a time, and of those that were forgotten meanwhile not at all', async () => {
  const { clock, pod, connect, reported } = world();
  const bob = connect('bob');
  const own = receipts(bob);
  bob.connect();
  await settled();
  const rooms = Array.from({ length: 1_060 }, (_, n) => `r${n}`);
  const positions = rooms.map((room) => pod.publish(room, 't', 1));
  const deliver = (from, to) => {
    for (let n = from; n < to; n++) own.deliver(rooms[n], positions[n]);
  };
  deliver(0, 60);
  const said = () => sentTo(pod, 'ack').map(({ room }) => room);
  await settled();
  assert.deepEqual(said(), ['r0']);
  await clock.advance(499);
  assert.equal(said().length, 1);
  await clock.advance(1);
  assert.deepEqual(said(), rooms.slice(0, 26), '25 rooms, those that wait longest first');
  // Each one more has the client forget the oldest.
  deliver(60, rooms.length);
  await clock.advance(500);
  assert.deepEqual(said().slice(26), rooms.slice(60, 85), 'a room that was forgotten takes no place');
  pod.cut();
  const before = said().length;
  await clock.advance(60_000);
  const again = said().slice(before);
  assert.deepEqual(again.toSorted(), rooms.slice(60).toSorted(), 'all that it knows, over the next connection');
  assert.ok(sentTo(pod, 'ack').every(({ epoch, offset }) => epoch && offset));
  assert.deepEqual(reported, []);
  own.close();
});
