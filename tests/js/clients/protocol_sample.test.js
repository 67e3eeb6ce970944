// The client that docs/PROTOCOL.md prints, as it is printed: what it derives from its rooms outlives its connections.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';

import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';

const PATIENCE = 30_000;
const secret = 'a-secret-of-tests-that-is-long-enough';
let pod, printed;

before(async () => {
  const page = await readFile(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8');
  const blocks = page.split('\n```js\n').map((block) => block.split('\n```')[0]);
  printed = blocks.find((block) => block.includes('function receive(message)'));
  pod = await Pod.start({
    config: `[tokens]\nhmac_secrets = ["${secret}"]\npersonal_room = "user:{user}"\n[[policy]]\nmatch = ["short"]\nhistory_size = 1\n`,
  });
});
after(() => pod?.stop());

function token(sub) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256' })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** An application over the printed client: per room what it has, and how often it had to begin anew. */
class Application {
  rooms = new Map();

  constructor(names) {
    for (const name of names) {
      this.rooms.set(name, {
        has: [],
        resets: 0,
        reset() {
          this.resets++;
          this.has = [];
        },
        apply(event) {
          this.has.push(event.data);
        },
      });
    }
    const send = (command) => this.socket.send(JSON.stringify(command));
    const client = new Function('rooms', 'send', `${printed}\nreturn { resume, receive };`);
    Object.assign(this, client(this.rooms, send));
  }

  /** Connects, and begins as the document says. */
  async connect() {
    const socket = new WebSocket(`${pod.plainUrl}?token=${token('ann')}`, ['roomcast.v1']);
    this.socket = socket;
    const answers = new Set();
    const open = new Promise((opened, failed) => socket.once('open', opened).once('error', failed));
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 'welcome') return this.resume();
      this.receive(message);
      if (message.id !== undefined) answers.add(message.id);
    });
    await open;
    await until(() => answers.size === this.rooms.size, PATIENCE, 'an answer for each room');
  }

  async lose() {
    const closed = new Promise((done) => this.socket.once('close', done));
    this.socket.terminate();
    await closed;
  }

  async has(name, wanted) {
    const room = this.rooms.get(name);
    const is = () => JSON.stringify(room.has);
    await until(
      () => is() === JSON.stringify(wanted),
      PATIENCE,
      () => `${name}: ${is()}`,
    );
  }
}

test('a room that is joined unasked goes on over reconnects, like any other', async () => {
  const application = new Application(['user:ann', 'news']);
  await application.connect();
  const began = [...application.rooms.values()].map(({ resets }) => resets);
  for (const room of ['user:ann', 'news']) await pod.publish(room, 1);
  for (const room of ['user:ann', 'news']) await application.has(room, [1]);
  for (const n of [2, 3]) {
    await application.lose();
    for (const room of ['user:ann', 'news']) await pod.publish(room, n);
    await application.connect();
    // Beside the missed one, one that comes while the client comes back.
    for (const room of ['user:ann', 'news']) await pod.publish(room, n + 0.5);
    const wanted = n === 2 ? [1, 2, 2.5] : [1, 2, 2.5, 3, 3.5];
    for (const room of ['user:ann', 'news']) await application.has(room, wanted);
  }
  const resets = [...application.rooms.values()].map(({ resets }) => resets);
  assert.deepEqual(resets, began, 'no room began anew');
  application.socket.close();
});

test('what can not be had begins anew', async () => {
  const application = new Application(['short']);
  await application.connect();
  await pod.publish('short', 1);
  await application.has('short', [1]);
  await application.lose();
  for (const n of [2, 3, 4]) await pod.publish('short', n);
  await application.connect();
  await until(() => application.rooms.get('short').resets === 2, PATIENCE, 'a room that begins anew');
  await pod.publish('short', 5);
  await application.has('short', [5]);
  application.socket.close();
});
