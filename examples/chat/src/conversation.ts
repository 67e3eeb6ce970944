// One room of the chat: its messages, what waits to be sent and what was read, who is there and who is typing.
//
// Knows no page. Always holds: a message stands there once, however often it was sent; the list is the newest part of the room's log
// without holes, because it is loaded again wherever the client says that something is missing.

import { type Client, type EventOf, RoomcastError } from 'roomcast';
import { commands } from 'roomcast/commands';
import { presence } from 'roomcast/presence';
import type { Receipts } from 'roomcast/receipts';
import { signals } from 'roomcast/signals';

import type { ChatRooms, ChatTopics, RoomInfo } from './session.js';

export interface ChatMessage {
  /** The author's own id of it: the same while it waits and when it is there. */
  readonly id: string;
  readonly author: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** `sent`: it is in the room's log, at `offset`. */
  readonly state: 'waiting' | 'failed' | 'sent';
  readonly offset?: number;
  readonly problem?: string;
}

const PAGE = 50;

export class Conversation {
  readonly name: `chat:${string}`;
  readonly info: RoomInfo;
  /** Whether there are older messages than those that are shown. */
  hasOlder = false;
  isLoading = true;
  /** Why the room cannot be had. */
  problem: string | undefined;
  readonly #client: Client<ChatRooms>;
  readonly #receipts: Receipts<ChatRooms>;
  readonly #user: string;
  readonly #changed: () => void;
  readonly #presence;
  readonly #typing;
  readonly #subscription;
  #epoch = '';
  #messages: ChatMessage[] = [];
  #waiting: ChatMessage[] = [];

  constructor(
    client: Client<ChatRooms>,
    receipts: Receipts<ChatRooms>,
    user: string,
    info: RoomInfo,
    changed: () => void,
  ) {
    this.name = `chat:${info.id}`;
    this.info = info;
    this.#client = client;
    this.#receipts = receipts;
    this.#user = user;
    this.#changed = changed;
    this.#subscription = client.subscribe(this.name, {
      load: () => this.#load(),
      event: (event) => {
        this.#add([event]);
        changed();
      },
    });
    this.#subscription.onError((error) => {
      this.problem = error.code === 'forbidden' ? 'You may not join this room.' : error.message;
      changed();
    });
    this.#presence = presence(client, this.name);
    this.#presence.onChange(changed);
    this.#typing = signals(client, this.name);
    this.#typing.onChange(changed);
  }

  /** The oldest first, and at the end what waits to be sent. */
  get messages(): readonly ChatMessage[] {
    return [...this.#messages, ...this.#waiting];
  }

  /** Who is there. */
  get people(): readonly string[] {
    return [...this.#presence.users].sort((one, other) => one.localeCompare(other));
  }

  /** Who else is typing. */
  get typing(): readonly string[] {
    return this.#typing.snapshot.flatMap(({ topic, user }) => (topic === 'typing' && user ? user : []));
  }

  /** At each keystroke. */
  type(text: string): void {
    if (text.trim()) this.#typing.send('typing');
    else this.#typing.stop('typing');
  }

  send(text: string): void {
    this.#typing.stop('typing');
    const random = crypto.getRandomValues(new Uint32Array(4)).join('-');
    this.#publish({ id: random, author: this.#user, text, time: Date.now(), state: 'waiting' });
  }

  /** Sends again what failed, as the same message. */
  retry(id: string): void {
    const message = this.#waiting.find((one) => one.id === id && one.state === 'failed');
    if (message) this.#publish({ ...message, state: 'waiting' });
  }

  discard(id: string): void {
    this.#waiting = this.#waiting.filter((one) => one.id !== id || one.state !== 'failed');
    this.#changed();
  }

  /** The user's own newest message that others have read, and which others. */
  get read(): { readonly id: string; readonly by: readonly string[] } | undefined {
    for (const { id, author, offset } of this.#messages.toReversed()) {
      if (author !== this.#user || offset === undefined) continue;
      const by = this.#receipts.readersOf(this.name, { epoch: this.#epoch, offset });
      if (by.length > 0) return { id, by: [...by].sort((one, other) => one.localeCompare(other)) };
    }
    return undefined;
  }

  async older(): Promise<void> {
    const first = this.#messages[0]?.offset ?? 1;
    const since = { epoch: this.#epoch, offset: Math.max(first - 1 - PAGE, 0) };
    const { events } = await commands(this.#client).history(this.name, { since, limit: first - 1 - since.offset });
    // While they were on their way, the list may have been loaded anew.
    if ((this.#messages[0]?.offset ?? 1) !== first || since.epoch !== this.#epoch) return;
    const before = this.#messages;
    this.#messages = [];
    this.#add(events);
    this.#messages.push(...before);
    this.hasOlder = since.offset > 0 && events.length > 0;
    this.#changed();
  }

  close(): void {
    this.#typing.close();
    this.#presence.close();
    this.#subscription.unsubscribe();
  }

  /** The newest messages. What comes meanwhile is told after it, and what they contain is not told again. */
  async #load() {
    this.isLoading = true;
    this.#changed();
    const { events, position, complete } = await commands(this.#client).history(this.name, { limit: PAGE });
    this.#messages = [];
    this.#add(events);
    this.#epoch = position.epoch;
    this.hasOlder = !complete;
    this.isLoading = false;
    this.problem = undefined;
    this.#changed();
    return position;
  }

  #add(events: readonly EventOf<ChatTopics>[]): void {
    for (const { topic, data, user = '?', time, id, offset } of events) {
      if (topic !== 'message' || offset === undefined) continue;
      this.#messages.push({ id: id ?? `${offset}`, author: user, text: data.text, time, state: 'sent', offset });
      this.#waiting = this.#waiting.filter((one) => one.id !== id);
    }
  }

  #publish(message: ChatMessage): void {
    this.#waiting = [...this.#waiting.filter(({ id }) => id !== message.id), message];
    this.#changed();
    const { id, text } = message;
    commands(this.#client)
      .publish(this.name, 'message', { text }, { id, idempotencyKey: id })
      .catch((error) => {
        const problem = error instanceof RoomcastError ? error.message : String(error);
        this.#waiting = this.#waiting.map((one) => (one.id === id ? { ...one, state: 'failed', problem } : one));
        this.#changed();
      });
  }
}
