// A user with one device or two, which talks in its conversations, reads, and chooses its status. `lie`: what it does wrong, for the checker to find:
// `drop`, `repeat`, `swap` what it gets; `read`: it never says what it read; `status`: it keeps its status to itself.

import { setTimeout as sleep } from 'node:timers/promises';

import { token } from '../support/tokens.js';
import { Device } from './device.js';

const STATUSES = ['online', 'away', 'busy'];

/** Which message of a channel a client lies about. */
const LIE_AT = 3;

export class Person {
  devices = [];
  #going = true;
  #said = 0;
  #status = 'online';

  /** `follows`: other users; `every`: how often it talks, reads and chooses, in ms. */
  constructor({ user, devices, conversations, follows, every, ways, record, lie, silent = false }) {
    Object.assign(this, { user, conversations, every, record, lie, silent });
    const followed = follows.map((other) => `presence:${other}`);
    const channels = conversations.map((conversation) => `message:${conversation}`);
    const rights = ['join', 'publish'];
    const signed = token(user, {
      rooms: [...followed, ...channels.map((room) => ({ room, rights }))],
      seconds: 36_000,
    });
    for (let n = 0; n < devices; n++) {
      const name = `${user}/${n}`;
      const way = () => ways[(n * 3 + this.#number()) % ways.length];
      const device = new Device({ name, token: signed, way, record, follows: [...channels, ...followed] });
      const lies = ['drop', 'repeat', 'swap'].includes(lie);
      if (lies)
        device.lie = ({ channel, seq }, { joined }) => channel.startsWith('message:') && seq === joined + LIE_AT && lie;
      device.read = new Map();
      device.back = () => this.#repeat(device);
      record.device(device, user);
      this.devices.push(device);
    }
  }

  #number() {
    return [...this.user].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 1_009;
  }

  come() {
    this.isHere = true;
    this.lives = this.devices.map((device) => device.live());
  }

  async leave() {
    this.isHere = false;
    for (const device of this.devices) device.leave();
    await Promise.all(this.lives);
  }

  /** Does what people do until it is stopped; `stop` resolves when all that it said was answered. */
  begin() {
    const { talk, read, choose } = this.every;
    this.doing = [
      ...(this.silent ? [] : this.devices.map((device) => this.#each(talk, () => this.#talk(device)))),
      this.#each(read, () => this.#read()),
      this.#each(choose, () => this.#choose()),
    ];
  }

  async stop() {
    this.#going = false;
    await Promise.all(this.doing);
  }

  async #each(every, act) {
    while (this.#going) {
      await sleep(every * (0.5 + Math.random()));
      if (this.#going && this.isHere) await act();
    }
  }

  #any() {
    const open = this.devices.filter((device) => device.isOpen);
    return open[Math.floor(Math.random() * open.length)];
  }

  async #talk(device) {
    if (!device.isOpen) return;
    const conversation = this.conversations[Math.floor(Math.random() * this.conversations.length)];
    const id = `${device.name}-m${++this.#said}`;
    const data = { conversation_id: conversation, content: `what ${this.user} has to say, the ${this.#said}th time` };
    const answer = await device.say({ type: 'message', event: 'new_message', id, data });
    if (answer.type !== 'ack') return this.record.trouble(`${id}: ${JSON.stringify(answer)}`);
    this.record.publication(`message:${conversation}`, answer.data.seq, id, device.name);
  }

  async #read() {
    const device = this.#any();
    const channels = [...(device?.channels ?? [])].filter(
      ([name, { got }]) => !name.startsWith('presence:') && got.length > 0,
    );
    if (channels.length === 0) return;
    const [channel, { got }] = channels[Math.floor(Math.random() * channels.length)];
    const [seq] = got.at(-1);
    this.record.reads(this.user, channel, seq);
    if (this.lie === 'read') return;
    device.read.set(channel, Math.max(seq, device.read.get(channel) ?? 0));
    await this.#acknowledge(device, channel, seq);
  }

  async #acknowledge(device, channel, seq) {
    const conversation = channel.startsWith('message:') && channel.slice('message:'.length);
    const message = conversation
      ? { event: 'message_read', conversation_id: conversation, seq }
      : { type: 'ack', channel, seq };
    const answer = await device.say(message);
    if (answer.type !== 'ack') this.record.trouble(`${device.name} read ${channel}: ${JSON.stringify(answer)}`);
  }

  /** A pod that died may have lost what it was told a moment before. */
  #repeat(device) {
    for (const [channel, seq] of device.read) this.#acknowledge(device, channel, seq);
  }

  async #choose() {
    const device = this.#any();
    if (!device) return;
    // One that lies of it never chooses what it is shown as, by which it would not be found.
    const shown = this.lie === 'status' ? 'online' : this.#status;
    const others = STATUSES.filter((status) => status !== this.#status && status !== shown);
    this.#status = others[Math.floor(Math.random() * others.length)];
    const answered = this.record.chooses(this.user, this.#status);
    if (this.lie === 'status') return answered();
    const answer = await device.say({ type: 'presence', data: { status: this.#status } });
    if (answer.type !== 'ack') this.record.trouble(`${device.name} chose: ${JSON.stringify(answer)}`);
    answered();
  }

  /** What its devices say is unread, once each is asked. */
  async askBadges() {
    const channels = [
      `notification:${this.user}`,
      ...this.conversations.map((conversation) => `message:${conversation}`),
    ];
    await Promise.all(
      this.devices.flatMap((device) => channels.map((channel) => device.say({ type: 'badge', channel }))),
    );
    for (const { name, badges } of this.devices) this.record.unread.push({ user: this.user, by: name, rooms: badges });
  }
}
