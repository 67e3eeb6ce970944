// One connection for all tabs, with Web Locks and channels in memory: who leads, what each tab is told, and what happens when the tab that
// leads is closed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chance } from '../support/chance.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { map } = await load('map');
const { tabs } = await load('tabs');
const { TestClock, TestPod, settled } = await load('testing');

/** An origin: its locks and channels, and tabs that may be closed without a word. */
class Origin {
  /** After how many turns what is said on a channel comes: browsers keep no order between channels. */
  turns = (_name) => 1;
  #waiting = new Map();
  #channels = new Map();

  /** A tab's own view of them. */
  tab() {
    const held = new Set();
    const mine = new Set();
    const all = this.#channels;
    const { turns } = this;
    const later = (count, then) => queueMicrotask(() => (count > 1 ? later(count - 1, then) : then()));
    let isClosed = false;
    const locks = {
      request: async (name, begin) => {
        await this.#turn(name, held);
        if (!isClosed) await begin();
        this.#next(name, held);
      },
    };
    class Channel {
      constructor(name) {
        this.name = name;
        all.set(name, (all.get(name) ?? new Set()).add(this));
        mine.add(this);
      }
      postMessage(said) {
        if (isClosed) return;
        assert.ok(all.get(this.name).has(this), 'the channel is closed');
        const data = structuredClone(said);
        for (const other of all.get(this.name)) {
          if (other === this) continue;
          later(turns(this.name), () => all.get(this.name).has(other) && other.onmessage?.({ data }));
        }
      }
      close() {
        all.get(this.name).delete(this);
      }
    }
    const close = () => {
      isClosed = true;
      for (const channel of mine) channel.close();
      for (const name of [...held]) this.#next(name, held);
    };
    return { locks, Channel, close };
  }

  async #turn(name, held) {
    const queue = this.#waiting.get(name) ?? [];
    this.#waiting.set(name, queue);
    await new Promise((turn) => {
      queue.push({ held, turn });
      if (queue.length === 1) turn();
    });
    held.add(name);
  }

  #next(name, held) {
    const queue = this.#waiting.get(name);
    if (queue[0]?.held !== held || !held.delete(name)) return;
    queue.shift();
    queue[0]?.turn();
  }
}

/** A transport whose pod takes its time to join a room. A room that is left meanwhile was never joined, as the real pod says. */
function joiningLater(transport, clock) {
  return {
    ...transport,
    dial(to, on) {
      const link = transport.dial(to, on);
      const joins = new Map();
      const join = (command) => {
        if (joins.get(command.room) !== command) return;
        joins.delete(command.room);
        link.send(command);
      };
      return {
        close: () => link.close(),
        send(command) {
          const { type, room } = command;
          const left = joins.get(room);
          if (type === 'subscribe') {
            joins.set(room, command);
            clock.after(20, () => join(command));
          } else if (type === 'unsubscribe' && left) {
            joins.delete(room);
            on.message({
              type: 'error',
              id: left.id,
              room,
              code: 'not_subscribed',
              message: `left ${room} before it was in it`,
            });
            on.message({ type: 'unsubscribed', id: command.id, room });
          } else link.send(command);
        },
      };
    },
  };
}

/** A pod, and tabs with a client each. */
function world({ turns, ...of } = {}) {
  const clock = new TestClock();
  const pod = new TestPod({ clock, ...of });
  const origin = new Origin();
  if (turns) origin.turns = turns;
  const reported = [];
  const open = (options = {}, user = '') => {
    const { locks, Channel, close: vanish } = origin.tab();
    const links = [];
    const transport = {
      ...pod.transport,
      dial: (to, on) => {
        links.push(joiningLater(pod.transport, clock).dial(to, on));
        return links.at(-1);
      },
    };
    const close = () => {
      vanish();
      for (const link of links) link.close();
    };
    const before = Object.getOwnPropertyDescriptors(globalThis);
    Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks } });
    Object.defineProperty(globalThis, 'BroadcastChannel', { configurable: true, value: Channel });
    const transports = tabs(user, [transport]);
    for (const name of ['navigator', 'BroadcastChannel']) {
      if (before[name]) Object.defineProperty(globalThis, name, before[name]);
      else delete globalThis[name];
    }
    const client = new Client({
      url: 'https://pod',
      transports,
      clock,
      storage: null,
      onError: (error) => reported.push(error),
      ...options,
    });
    return { client, close };
  };
  return { clock, pod, reported, open };
}

/** What a client sees of a room. */
function follow(client, room) {
  const seen = [];
  const loads = [];
  const subscription = client.subscribe(room, {
    load: ({ why }) => void loads.push(why),
    event: ({ data }) => seen.push(data),
  });
  return { seen, loads, subscription };
}

test('all tabs have one connection, and each is told everything once', async () => {
  const { clock, pod, open, reported } = world();
  const all = [open(), open(), open()].map(({ client }) => follow(client, 'r'));
  await clock.advance(1_000);
  assert.equal(pod.connections, 1);
  pod.publish('r', 't', 1);
  await settled();
  const late = follow(open().client, 'r');
  await clock.advance(1_000);
  pod.publish('r', 't', 2);
  await settled();
  for (const { seen, loads } of all) assert.deepEqual([seen, loads], [[1, 2], ['joined']]);
  assert.deepEqual([late.seen, late.loads], [[2], ['joined']]);
  assert.equal(pod.connections, 1);
  assert.deepEqual(reported, []);
});

test('a room is left when the last tab leaves it, and the connection ends with the last tab', async () => {
  const { clock, pod, open } = world();
  const [one, two] = [open(), open()];
  const [first, second] = [follow(one.client, 'r'), follow(two.client, 'r')];
  await clock.advance(1_000);
  const left = () => pod.commands.filter(({ type }) => type === 'unsubscribe').length;
  const before = left();
  first.subscription.unsubscribe();
  await settled();
  assert.equal(left(), before);
  pod.publish('r', 't', 1);
  await settled();
  assert.deepEqual([first.seen, second.seen], [[], [1]]);
  two.close();
  await settled();
  assert.equal(left(), before + 1, 'nobody is in it');
  assert.equal(pod.connections, 1);
  one.client.close();
  await settled();
  assert.equal(pod.connections, 0);
});

test('when the tab that leads is closed, another one leads, and nothing is lost', async () => {
  const { clock, pod, open, reported } = world();
  const [one, two, three] = [open(), open(), open()];
  const [, second, third] = [one, two, three].map(({ client }) => follow(client, 'r'));
  await clock.advance(1_000);
  pod.publish('r', 't', 1);
  await settled();
  one.close();
  assert.equal(pod.connections, 0);
  pod.publish('r', 't', 2);
  await clock.advance(2_000);
  pod.publish('r', 't', 3);
  await clock.advance(1_000);
  for (const { seen, loads } of [second, third]) assert.deepEqual([seen, loads], [[1, 2, 3], ['joined']]);
  assert.equal(pod.connections, 1);
  assert.deepEqual(reported, []);
});

test('a tab that comes later gets the values that a room keeps, and the others get none of them twice', async () => {
  const { clock, pod, open } = world({ retains: () => true });
  pod.publish('fleet', 'moved', 1, { key: 'a' });
  const first = follow(open().client, 'fleet');
  await clock.advance(1_000);
  const fleet = map(open().client, 'fleet');
  await clock.advance(1_000);
  assert.equal(fleet.get('a')?.data, 1);
  pod.publish('fleet', 'moved', 2, { key: 'a' });
  await settled();
  assert.equal(fleet.get('a').data, 2);
  assert.deepEqual([first.seen, first.loads], [[1, 2], ['joined']]);
});

test('what happens while a room is joined for another tab is not lost', async () => {
  const { clock, pod, open } = world();
  const first = follow(open().client, 'r');
  await clock.advance(1_000);
  pod.publish('r', 't', 1);
  const { client } = open();
  client.connect();
  await clock.advance(1_000);
  const { push } = pod.commands;
  pod.commands.push = function (command) {
    // Between leaving and joining again.
    if (command.type === 'subscribe') {
      pod.commands.push = push;
      pod.publish('r', 't', 2);
    }
    return push.call(this, command);
  };
  const second = follow(client, 'r');
  await clock.advance(1_000);
  assert.deepEqual([first.seen, first.loads], [[1, 2], ['joined']]);
  assert.deepEqual([second.seen, second.loads], [[], ['joined']]);
});

test('commands are answered to the tab that asked', async () => {
  const { clock, pod, open } = world({ accepts: (token) => (token === 'bad' ? undefined : {}) });
  const [one, two] = [open({ token: 'a' }), open({ token: 'b' })];
  const sent = Promise.all([one, two].map(({ client }, at) => commands(client).publish('r', 't', at)));
  await clock.advance(1_000);
  assert.deepEqual((await sent).map(({ offset }) => offset).sort(), [1, 2]);
  assert.deepEqual(
    pod.commands.filter(({ token }) => token).map(({ type }) => type),
    ['connect', 'connect'],
    'of a connection the first 64 cost least',
  );
});

test('tabs of another user have a connection of their own', async () => {
  const { clock, pod, open } = world();
  for (const user of ['ann', 'bob', 'ann']) open({}, user).client.connect();
  await clock.advance(1_000);
  assert.equal(pod.connections, 2);
});

test('a close of the server reaches every tab, with its code', async () => {
  const { clock, pod, open } = world();
  const all = [open(), open()].map(({ client }) => client);
  for (const client of all) client.connect();
  await clock.advance(1_000);
  pod.cut(4003, 'go away');
  await settled();
  for (const { state } of all) assert.deepEqual([state.kind, state.error?.closeCode], ['closed', 4003]);
});

test('a close of the server reaches every tab before another one leads, whichever of their channels is slow', async () => {
  // A tab's own channel has its number in its name.
  const { clock, pod, open } = world({ turns: (name) => (/0\.\d+$/.test(name) ? 12 : 1) });
  const all = [open(), open(), open()].map(({ client }) => client);
  for (const client of all) client.connect();
  await clock.advance(1_000);
  pod.cut(4029, 'too many commands');
  for (let turn = 0; turn < 5; turn++) await settled();
  for (const { state } of all) assert.deepEqual([state.kind, state.error?.closeCode], ['closed', 4029]);
});

test('a tab that ends leaves the rooms that it is in, and not those that any tab has ever been in', async () => {
  const { clock, pod, open } = world({ allows: (room) => room !== 'closed' });
  const [one, two] = [open(), open()];
  const { seen } = follow(one.client, 'kept');
  for (let n = 0; n < 50; n++) {
    const visited = one.client.subscribe(`visited-${n}`);
    await clock.advance(100);
    visited.unsubscribe();
    await settled();
  }
  const refused = two.client.subscribe('closed');
  refused.onError(() => {});
  const removed = follow(two.client, 'removed');
  removed.subscription.onError(() => {});
  follow(two.client, 'own');
  follow(two.client, 'kept');
  await clock.advance(1_000);
  pod.say({ type: 'unsubscribed', room: 'removed', code: 'removed', message: 'by the backend' });
  await settled();
  assert.deepEqual([refused.state, removed.subscription.state], ['refused', 'refused']);
  const idle = open();
  idle.client.connect();
  await clock.advance(1_000);
  const left = () => pod.commands.filter(({ type }) => type === 'unsubscribe').map(({ room }) => room);
  const before = left().length;
  idle.client.close();
  await settled();
  assert.deepEqual(left().slice(before), []);
  two.close();
  await settled();
  assert.deepEqual(left().slice(before), ['own']);
  pod.publish('kept', 't', 1);
  await settled();
  assert.deepEqual(seen, [1]);
});

test('a tab that ends while its room is being joined is in it no more', async () => {
  const { clock, pod, open } = world();
  const one = open();
  one.client.connect();
  await clock.advance(1_000);
  const [two, three] = [open(), open()];
  follow(two.client, 'r');
  follow(three.client, 'r');
  await clock.advance(10);
  two.close();
  three.close();
  await clock.advance(1_000);
  const commands = pod.commands.filter(({ room }) => room === 'r').map(({ type }) => type);
  assert.equal(commands.at(-1), 'unsubscribe', `${commands}`);
});

test('a transport that cannot even begin fails at once, for every tab', async () => {
  const { clock, pod, open } = world();
  const { dial } = pod.transport;
  pod.transport.dial = () => {
    throw new Error('blocked');
  };
  const all = [open(), open()].map(({ client }) => client);
  for (const client of all) client.connect();
  // It takes no time, but many turns: the second tab leads after the first.
  for (let turn = 0; turn < 5; turn++) await settled();
  for (const { attempts } of all) assert.match(attempts[0]?.reason ?? '', /blocked|another tab leads/);
  pod.transport.dial = dial;
  await clock.advance(10_000);
  for (const { state } of all) assert.equal(state.kind, 'open');
  assert.equal(pod.connections, 1);
});

test('where there are no Web Locks, each tab has its own connection', () => {
  const { pod } = world();
  assert.deepEqual(tabs('', [pod.transport]), [pod.transport]);
});

/** Tabs that come, go and crash, on a connection that is cut; what it answers are the faults that were seen. */
async function live(seed) {
  const next = chance(seed);
  const { clock, pod, open } = world();
  const faults = [];
  const heads = { a: 0, b: 0 };
  const publish = (room) => {
    heads[room] += 1;
    pod.publish(room, 'n', heads[room]);
  };
  const witness = (client, room) => {
    let at;
    const load = ({ position }) => {
      at = position.offset;
    };
    const event = ({ offset, data }) => {
      if (offset !== at + 1 || data !== offset) faults.push(`${room}: event ${offset}, ${data} after ${at}`);
      at = offset;
    };
    const subscription = client.subscribe(room, { load, event });
    return () => {
      if (subscription.state !== 'ended' && at !== heads[room]) faults.push(`${room}: ${at} of ${heads[room]}`);
    };
  };
  let alive = [];
  for (let step = 0; step < 30; step++) {
    const room = next() < 0.5 ? 'a' : 'b';
    const what = next();
    const one = alive[Math.floor(next() * alive.length)];
    if (what < 0.4) publish(room);
    else if (what < 0.55) {
      const { client, close } = open();
      alive.push({ client, close, judges: [witness(client, room)] });
    } else if (what < 0.65) one?.judges.push(witness(one.client, room));
    else if (what < 0.75) {
      one?.close();
      alive = alive.filter((other) => other !== one);
    } else if (what < 0.8) pod.cut(next() < 0.5 ? 1006 : 1012);
    else if (what < 0.83) {
      pod.forget(room);
      heads[room] = 0;
    } else await clock.advance(next() * 3_000);
    if (next() < 0.6) await settled();
  }
  await clock.advance(60_000);
  for (const room of ['a', 'b']) publish(room);
  await clock.advance(1_000);
  for (const { judges } of alive) for (const judge of judges) judge();
  if (pod.connections !== Math.min(alive.length, 1)) faults.push(`${pod.connections} connections`);
  for (const { client, close } of alive) {
    client.close();
    close();
  }
  return faults;
}

test('whatever happens to its tabs, each sees every event once and in order', async () => {
  for (let seed = 1; seed <= 150; seed++) assert.deepEqual(await live(seed), [], `seed ${seed}`);
});
