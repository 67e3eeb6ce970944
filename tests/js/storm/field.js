// Two pods over one Redis, a way with weather to each, and the clients in it.

import { setTimeout as sleep } from 'node:timers/promises';

import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';
import { Redis } from '../support/redis.js';
import { SECRET } from '../support/tokens.js';
import { DistantWay } from './distant_way.js';
import { Ledger } from './ledger.js';
import { NETWORKS } from './network.js';
import { Participant } from './participant.js';

const CONFIG = `anonymous = false
[tokens]
hmac_secrets = ["${SECRET}"]
leeway = "1s"
personal_room = "user:{user}"
[limits]
commands_per_second = 1000
command_burst = 4000
[timeouts]
ping = "2s"
[default_policy]
join = "user"
publish = "user"
publish_per_second = 1000
publish_burst = 1000
history_size = 1000000
history_bytes = "256MiB"
history_age = "1h"
[[policy]]
match = ["pair:*"]
acks = "receipts"
`;
const PODS = 2;

export class Field {
  ledger = new Ledger();
  patience = 60_000;
  crowd = [];

  static async start(clients, transports) {
    const field = new Field();
    try {
      field.redis = await Redis.start();
      field.pods = await Promise.all(Array.from({ length: PODS }, () => field.#pod()));
      field.ways = await Promise.all(field.pods.map(({ plainPort }) => DistantWay.open(plainPort)));
      await field.#enter(clients, transports);
    } catch (error) {
      await field.end();
      throw error;
    }
    return field;
  }

  #pod(ports) {
    return Pod.start({ config: CONFIG, args: ['--redis', this.redis.url], ports });
  }

  /** Half of the clients know the pods in the one order, half in the other. */
  async #enter(clients, transports) {
    for (let number = 0; number < clients; number++) {
      const { ledger } = this;
      const network = (number >> 2) % NETWORKS;
      const urls = this.ways.map((way) => way.urls[network]);
      if (number % 4 > 1) urls.reverse();
      this.crowd.push(new Participant(number, { network, urls, ledger, transports }));
      if (number % 20 === 19) await sleep(50);
    }
    await this.settled('join their rooms', ({ isWhole }) => isWhole);
  }

  /** Waits until each client has been so once: at any moment some of many connect anew, because their tokens end. */
  async settled(what, isSo) {
    let left = this.crowd;
    const settles = () => {
      left = left.filter((one) => !isSo(one));
      return left.length === 0;
    };
    const said = () => `${left.length} clients do not ${what}. ${left[0].who}: ${left[0].said}`;
    await until(settles, this.patience, said);
  }

  /** Ends a pod as a power failure would. */
  async kill(at) {
    this.pods[at].running.signal('SIGKILL');
    await this.pods[at].exit;
  }

  async revive(at) {
    this.pods[at] = await this.#pod(this.pods[at].ports);
  }

  /** A room's log: `[offset, id]` of each event. */
  async log(room) {
    const { history } = this.crowd[0].commands;
    let since;
    const all = [];
    for (;;) {
      // Without a position the newest would come.
      since ??= { epoch: (await history(room, { limit: 1 })).position.epoch, offset: 0 };
      const { events, position, complete } = await history(room, { since });
      all.push(...events.map(({ offset, data }) => [offset, data]));
      if (complete) return all;
      if (position.epoch !== since.epoch || position.offset <= since.offset)
        throw new Error(`the log of ${room} does not reach back to ${since.offset}`);
      since = position;
    }
  }

  /** How far a user has read in a room, as the pods keep it. */
  async mark(user, room) {
    const answer = await fetch(`${this.pods[0].internal}/api/users/${user}/unread?rooms=${room}`, {
      headers: { authorization: `Bearer ${Pod.key}` },
    });
    return (await answer.json()).rooms.find((one) => one.room === room)?.offset ?? 0;
  }

  async end() {
    for (const one of this.crowd) one.close();
    await Promise.all((this.ways ?? []).map((way) => way.close()));
    await Promise.all((this.pods ?? []).map((pod) => pod.end(10_000)));
    await this.redis?.stop();
  }
}
