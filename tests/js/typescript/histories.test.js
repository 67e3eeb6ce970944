// Thousands of histories over a simulated network and clock: whatever is cut, lost, swallowed or closed, each event is seen once and in
// order, or its loss is told; each publish is one event, in order; nothing hangs for ever. Faults that are planted must be found.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chance } from '../support/chance.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { TestClock, TestPod, settled } = await load('testing');
const { Room } = await load('room');
const { TOKEN_WITHIN, WELCOME_WITHIN } = await load('patience');

const HISTORIES = Number(process.env.HISTORIES ?? 300);
const STEPS = 30;

/** What a part of an application sees of a room, and whether that may be. */
class Witness {
  faults = [];

  constructor(client, room, loadsFor) {
    const load = async ({ position, signal }) => {
      this.at = undefined;
      await loadsFor();
      if (!signal.aborted) this.at = position;
      return position;
    };
    this.subscription = client.subscribe(room, { load, event: (event) => this.#see(event) });
  }

  #see({ offset, data }) {
    if (!this.at) return this.faults.push(`event ${offset} while it loads`);
    if (offset !== this.at.offset + 1) this.faults.push(`event ${offset} after ${this.at.offset}`);
    if (data.offset !== offset) this.faults.push(`event ${offset} is event ${data.offset}`);
    this.at = { offset };
  }
}

/** Between a client and a pod: connections may die unnoticed, and what is begun may be swallowed. */
class Network {
  swallows = false;
  #ways = new Set();

  constructor(pod) {
    this.transport = { ...pod.transport, dial: (to, on) => this.#dial(pod, to, on) };
  }

  #dial(pod, to, on) {
    if (this.swallows) return { send() {}, close() {} };
    const way = { isDead: false };
    this.#ways.add(way);
    const link = pod.transport.dial(to, {
      message: (...what) => way.isDead || on.message(...what),
      close: (...how) => way.isDead || on.close(...how),
    });
    return {
      send: (command) => way.isDead || link.send(command),
      close: () => {
        this.#ways.delete(way);
        link.close();
      },
    };
  }

  /** What is there is dead, and nothing says so. */
  forget() {
    for (const way of this.#ways) way.isDead = true;
  }
}

/** What a planted fault puts in between. */
const faulty = { transport: (transport) => transport, publish: (publish) => publish, clock: (clock) => clock };

/** Lives through one history; what it answers are the faults that were seen. */
async function live(seed) {
  const next = chance(seed);
  const pick = (...all) => all[Math.floor(next() * all.length)];
  const clock = faulty.clock(new TestClock());
  const pod = new TestPod({ clock, accepts: () => ({ expiresAt: clock.date() + 60_000 }) });
  const network = new Network(pod);
  let token = 0;
  let withholds = false;
  const client = new Client({
    url: 'https://pod',
    transports: [faulty.transport(network.transport)],
    clock,
    storage: null,
    token: () => (withholds ? new Promise(() => {}) : `token-${++token}`),
    // Of a token that is withheld the application is told; it is asked for again.
    onError: (error) => error.message !== 'too slow' && faults.push(`reported: ${error}`),
  });
  const faults = [];
  const publishes = faulty.publish(commands(client).publish);
  const heads = { a: 0, b: 0 };
  const publish = (room) => {
    heads[room] += 1;
    pod.publish(room, 'n', { offset: heads[room] });
  };
  const loadsFor = () => (next() < 0.5 ? undefined : new Promise((done) => clock.after(next() * 3_000, done)));
  const witnesses = [];
  const outcomes = [];
  for (let step = 0; step < STEPS; step++) {
    const room = pick('a', 'b');
    const what = next();
    if (what < 0.3) publish(room);
    else if (what < 0.45) {
      pod.tamper = undefined;
      pod.cut(pick(1006, 1011, 1012, 4002, 4008, 4009, 4010));
    } else if (what < 0.5) pod.isUp = !pod.isUp;
    else if (what < 0.55) {
      pod.forget(room);
      heads[room] = 0;
    } else if (what < 0.7) witnesses.push(new Witness(client, room, loadsFor));
    else if (what < 0.75) witnesses.splice(0, 1)[0]?.subscription.unsubscribe();
    else if (what < 0.85) {
      const outcome = { number: outcomes.length };
      outcomes.push(outcome);
      publishes('sent', 'n', outcome.number).then(
        (position) => (outcome.position = position),
        (error) => (outcome.error = error.code),
      );
    } else if (what < 0.88) {
      // Until the next cut, publishes are carried out, and their answers lost.
      pod.tamper = (message) => (message.type === 'published' ? undefined : message);
    } else if (what < 0.9) client.wake();
    else if (what < 0.92) network.forget();
    else if (what < 0.94) network.swallows = !network.swallows;
    else if (what < 0.95) withholds = !withholds;
    else await clock.advance(next() * 5_000);
    if (next() < 0.6) await settled();
  }
  pod.isUp = true;
  network.swallows = withholds = false;
  if (pod.tamper) pod.cut();
  pod.tamper = undefined;
  await clock.advance(120_000);
  for (const room of ['a', 'b']) publish(room);
  await clock.advance(1_000);
  for (const { subscription, at, faults: seen } of witnesses) {
    faults.push(...seen);
    if (subscription.state !== 'joined') faults.push(`${subscription.room} is ${subscription.state}`);
    if (at?.offset !== heads[subscription.room]) faults.push(`${at?.offset} of ${heads[subscription.room]} at the end`);
  }
  faults.push(...(await judge(client, outcomes)));
  client.close();
  await settled();
  if (pod.connections > 0) faults.push('a connection is left');
  return faults;
}

/** Whether the publishes and the log that they went to agree. */
async function judge(client, outcomes) {
  let sent;
  commands(client)
    .history('sent')
    .then(
      ({ events }) => (sent = events.map(({ data }) => data)),
      () => {},
    );
  await settled();
  // With some faults it would never be.
  if (!sent) return [`nothing is answered: it is ${client.state.kind}`];
  const faults = [];
  for (const { number, position, error } of outcomes) {
    const times = sent.filter((other) => other === number).length;
    if (times !== 1 || !position) {
      faults.push(`publish ${number} is there ${times} times, and was told ${position ? 'so' : error}`);
    }
  }
  if (sent.some((number, at) => at > 0 && number < sent[at - 1])) faults.push(`publishes are out of order: ${sent}`);
  return faults;
}

test(`${HISTORIES} histories are exact`, async () => {
  for (let seed = 1; seed <= HISTORIES; seed++) assert.deepEqual(await live(seed), [], `seed ${seed}`);
});

/** Time that never brings what is waited for so long. */
function endless(ms) {
  return () => {
    faulty.clock = (clock) => {
      const { after } = clock;
      return Object.assign(clock, { after: (wait, then) => (wait === ms ? () => {} : after(wait, then)) });
    };
    return () => (faulty.clock = (clock) => clock);
  };
}

/** Runs histories with a fault until one shows it. */
async function find(plant) {
  const mend = plant();
  try {
    for (let seed = 1; seed <= 300; seed++) if ((await live(seed)).length > 0) return seed;
    return undefined;
  } finally {
    mend();
  }
}

function replacing(type, name, make) {
  return () => {
    const good = type.prototype[name];
    type.prototype[name] = make(good);
    return () => (type.prototype[name] = good);
  };
}

const planted = {
  'a gap is passed over': replacing(Room, 'receive', (good) => {
    return function (message, datagram) {
      if (message.type !== 'gap') good.call(this, message, datagram);
      else this.position = { epoch: message.epoch, offset: message.offset };
    };
  }),
  'every join counts as recovered': () => {
    const changed = (message) => (message.type === 'subscribed' ? { ...message, recovered: true } : message);
    faulty.transport = (transport) => ({
      ...transport,
      dial: (to, on) => transport.dial(to, { ...on, message: (message) => on.message(changed(message)) }),
    });
    return () => (faulty.transport = (transport) => transport);
  },
  'a room continues an event too late': replacing(Room, 'away', (good) => {
    return function () {
      if (this.position) this.position = { ...this.position, offset: this.position.offset + 1 };
      good.call(this);
    };
  }),
  'a room continues an event too early': replacing(Room, 'away', (good) => {
    return function () {
      if (this.position?.offset > 0) this.position = { ...this.position, offset: this.position.offset - 1 };
      good.call(this);
    };
  }),
  'an attempt has no limit of time': endless(WELCOME_WITHIN),
  'a token is waited for for ever': endless(TOKEN_WITHIN),
  'a silent connection is never asked': () => {
    const changed = (message) => (message.type === 'welcome' ? { ...message, ping_interval: undefined } : message);
    faulty.transport = (transport) => ({
      ...transport,
      dial: (to, on) => transport.dial(to, { ...on, message: (message) => on.message(changed(message)) }),
    });
    return () => (faulty.transport = (transport) => transport);
  },
  'a publish is sent again under another key': () => {
    let keys = 0;
    const changed = (command) =>
      command.type === 'publish' ? { ...command, idempotency_key: `key ${++keys}` } : command;
    faulty.transport = (transport) => ({
      ...transport,
      dial(to, on) {
        const link = transport.dial(to, on);
        return { ...link, send: (command) => link.send(changed(command)) };
      },
    });
    return () => (faulty.transport = (transport) => transport);
  },
  'a publish whose answer was lost is given up': () => {
    faulty.publish = (publish) => (room, topic, data) => publish(room, topic, data, { offline: 'fail' });
    return () => (faulty.publish = (publish) => publish);
  },
};

for (const [name, plant] of Object.entries(planted)) {
  test(`a planted fault is found: ${name}`, async () => {
    assert.notEqual(await find(plant), undefined, 'no history showed it');
  });
}
