// One client of a storm: it follows rooms, publishes, reads what the other one of its pair writes, and notes when it was back.
//
// Always holds: of what it publishes, each has a name of its own, by which the ledger knows it; it waits for no answer before it publishes
// the next.

import { setTimeout as sleep } from 'node:timers/promises';

import WebSocket from 'ws';

import { token } from '../support/tokens.js';
import { load } from '../support/typescript.js';

const { Client } = await load('index');
const { commands } = await load('commands');
const { explain } = await load('explain');
const { receipts } = await load('receipts');
const { unread } = await load('unread');

/** In so many rooms those that are not for two or for all are divided. */
const ROOMS = 40;
const ALL = 'storm:all';
/** Only so many publish to the room of all. */
const SPEAKERS = 10;
/** So long is a token good, less a part of a second; the pods take it a second longer. */
const TOKEN_SECONDS = 5;

const memory = () => {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
};

export class Participant {
  /** When the network was back, until it is connected; and until it is in all of its rooms. */
  #back;
  #whole;
  #count = 0;
  #goes = true;
  waiting = 0;
  tokens = 0;
  /** Milliseconds from when the network was back, each time: until it was connected, until it was in all of its rooms. */
  opened = [];
  joined = [];
  reported = [];

  constructor(number, { network, urls, ledger, transports }) {
    this.who = `client-${number}`;
    this.number = number;
    this.network = network;
    this.ledger = ledger;
    this.pair = `pair:${number >> 1}`;
    this.partner = `client-${number ^ 1}`;
    this.rooms = [...new Set([`storm:${number % ROOMS}`, `storm:${(number * 7 + 3) % ROOMS}`, ALL, this.pair])];
    this.client = new Client({
      url: urls,
      transports,
      WebSocket,
      storage: memory(),
      onError: (error) => this.reported.push(`${error.code ?? error}`),
      token: async () => {
        this.tokens += 1;
        return token(this.who, { seconds: TOKEN_SECONDS });
      },
    });
    this.commands = commands(this.client, { maxQueued: 1_000 });
    this.receipts = receipts(this.client);
    this.unread = unread(this.client, this.pair);
    this.client.onState(({ kind }) => {
      if (kind !== 'open' || this.#back === undefined) return;
      this.opened.push(performance.now() - this.#back);
      this.#back = undefined;
    });
    this.subscriptions = this.rooms.map((room) => this.#follow(room));
  }

  #follow(room) {
    const { who, ledger } = this;
    const subscription = this.client.subscribe(room, {
      load: ({ why, position }) => ledger.told(who, room, why, position.offset),
      event: ({ offset, data, user }) => {
        ledger.saw(who, room, offset, data);
        if (room === this.pair && user === this.partner) this.unread.read(room);
      },
    });
    subscription.onChange(() => {
      if (this.#whole === undefined || !this.isWhole) return;
      this.joined.push(performance.now() - this.#whole);
      this.#whole = undefined;
    });
    return subscription;
  }

  get isOpen() {
    return this.client.state.kind === 'open';
  }

  /** Whether the network is back, and it is not. */
  get isAwaited() {
    return this.#back !== undefined;
  }

  get isWhole() {
    return this.isOpen && this.subscriptions.every(({ state }) => state === 'joined');
  }

  /** What it does, for people. */
  get said() {
    return explain(this.client);
  }

  /** The network is back: what a browser tells by the event `online`. */
  wake() {
    if (!this.isOpen) this.#back = this.#whole = performance.now();
    this.client.wake();
  }

  /** A connection was cut, and the network is there: nothing tells it. */
  wasCut() {
    this.#back = this.#whole = performance.now();
  }

  publish(room) {
    const id = `${this.who}:${++this.#count}`;
    this.waiting += 1;
    return this.commands
      .publish(room, 'said', id)
      .then(
        (position) => {
          this.ledger.answered(room, id, position.offset);
          if (room === this.pair) this.last = position;
        },
        (error) => this.ledger.refused(room, id, error),
      )
      .finally(() => {
        this.waiting -= 1;
      });
  }

  /** Publishes, one or two at a time, until it is stopped. `pace`: milliseconds between. */
  async speak(pace) {
    const [one, other] = this.rooms;
    const usual = [one, one, other, other, this.pair];
    const rooms = this.number < SPEAKERS ? [...usual, ALL] : usual;
    while (this.#goes) {
      await sleep(pace * (0.5 + Math.random()));
      for (let more = Math.random() < 0.3 ? 2 : 1; this.#goes && more > 0; more--)
        void this.publish(rooms[Math.floor(Math.random() * rooms.length)]);
    }
  }

  stop() {
    this.#goes = false;
  }

  /** Whether its author knows that the partner has read the last that it wrote to the pair. */
  get isTold() {
    return !this.last || this.receipts.readersOf(this.pair, this.last).includes(this.partner);
  }

  close() {
    this.#goes = false;
    this.client.close();
  }
}
