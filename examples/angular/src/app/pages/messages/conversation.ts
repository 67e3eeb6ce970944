// One conversation: its messages, what waits to be sent, who types, and how far the others have its messages and have read them.
//
// To be made where Angular injects: what it follows ends with the service that makes it. Always holds: a message stands there once,
// however often it was sent; the list is the newest part of the room's log without holes, because it is loaded again wherever the client
// says that something is missing.

import { computed, effect, signal, untracked } from '@angular/core';
import { type EventOf, type Position, RoomcastError } from 'roomcast';
import { map, signals } from 'roomcast/angular';

import type { ConversationInfo, MessageTopics } from '../../shared/rooms';
import type { WebsocketService } from '../../shared/services/websocket.service';
import type { Message, MessageState } from './message';

const PAGE = 50;
/** Before it says that messages came to this device, it waits whether more do. */
const DELIVERED_AFTER = 300;

/** How far a user has read in a conversation. */
export type ReadBy = (conversation: Conversation, user: string) => Position | undefined;

export class Conversation {
  readonly id: string;
  /** A conversation of two has none. */
  readonly title: string | undefined;
  readonly room: `message:${string}`;
  /** All members but the user. */
  readonly others: readonly string[];
  readonly draft = signal('');
  readonly isLoading = signal(true);
  /** Whether there are older messages than those that are shown. */
  readonly hasOlder = signal(false);
  /** Why the conversation cannot be had. */
  readonly problem = signal<string | undefined>(undefined);
  readonly epoch = signal('');
  readonly #sent = signal<readonly Message[]>([]);
  readonly #waiting = signal<readonly Message[]>([]);
  readonly #socket: WebsocketService;
  readonly #user: string;
  readonly #readBy: ReadBy;
  readonly #signals;
  readonly #delivered;

  /** The oldest first, and at the end what waits to be sent. */
  readonly messages = computed<readonly Message[]>(() => [...this.#sent(), ...this.#waiting()]);
  readonly last = computed(() => this.messages().at(-1));
  /** The others that are typing. */
  readonly typing = computed<readonly string[]>(() =>
    this.#signals().shown.flatMap(({ topic, user }) => (topic === 'typing' && user ? user : [])),
  );

  constructor(info: ConversationInfo, user: string, socket: WebsocketService, readBy: ReadBy) {
    this.id = info.id;
    this.title = info.title;
    this.room = `message:${info.id}`;
    this.others = info.members.filter((member) => member !== user);
    this.#socket = socket;
    this.#user = user;
    this.#readBy = readBy;
    const subscription = socket.subscribe(this.room, {
      load: () => this.#load(),
      event: (event) => {
        this.epoch.set(subscription.position?.epoch ?? '');
        this.#add([event]);
      },
    });
    subscription.onError(({ code, message }) =>
      this.problem.set(code === 'forbidden' ? 'You are not in this conversation.' : message),
    );
    this.#signals = signals(socket.client, this.room);
    this.#delivered = map(socket.client, `delivered:${info.id}`);
    this.#tellDelivered();
  }

  /** At each keystroke. */
  type(text: string, isShown: boolean): void {
    this.draft.set(text);
    const { send, stop } = this.#signals();
    if (isShown && text.trim()) send('typing');
    else stop('typing');
  }

  send(text: string): void {
    this.#signals().stop('typing');
    this.draft.set('');
    this.#publish({ id: crypto.randomUUID(), author: this.#user, text, time: Date.now(), state: 'waiting' });
  }

  /** Sends again what failed, as the same message. */
  retry(id: string): void {
    const message = this.#waiting().find((one) => one.id === id && one.state === 'failed');
    if (message) this.#publish({ ...message, state: 'waiting' });
  }

  discard(id: string): void {
    this.#waiting.update((all) => all.filter((one) => one.id !== id || one.state !== 'failed'));
  }

  /** What the user, its author, sees of a message. */
  stateOf({ state, offset }: Message): MessageState {
    if (state !== 'sent' || offset === undefined) return state;
    const here = { epoch: this.epoch(), offset };
    const isRead = (user: string) => reaches(this.#readBy(this, user), here);
    const isDelivered = (user: string) => reaches(this.#deliveredTo(user), here);
    if (this.others.every(isRead)) return 'read';
    return this.others.every((user) => isRead(user) || isDelivered(user)) ? 'delivered' : 'sent';
  }

  /** How many of the messages behind a position are the user's own. */
  ownAfter({ epoch, offset }: Position): number {
    if (epoch !== this.epoch()) return 0;
    return this.#sent().filter((one) => one.author === this.#user && (one.offset ?? 0) > offset).length;
  }

  async older(): Promise<void> {
    const first = this.#sent()[0]?.offset ?? 1;
    const since = { epoch: this.epoch(), offset: Math.max(first - 1 - PAGE, 0) };
    const { events } = await this.#socket.history(this.room, first - 1 - since.offset, since);
    // While they were on their way, the list may have been loaded anew.
    if ((this.#sent()[0]?.offset ?? 1) !== first || since.epoch !== this.epoch()) return;
    this.#sent.update((sent) => [...events.map(messageOf), ...sent]);
    this.hasOlder.set(since.offset > 0 && events.length > 0);
  }

  /** The newest messages. What comes meanwhile is told after it, and what they contain is not told again. */
  async #load(): Promise<Position> {
    this.isLoading.set(true);
    const { events, position, complete } = await this.#socket.history(this.room, PAGE);
    this.#sent.set([]);
    this.#add(events);
    this.epoch.set(position.epoch);
    this.hasOlder.set(!complete);
    this.isLoading.set(false);
    this.problem.set(undefined);
    return position;
  }

  #add(events: readonly EventOf<MessageTopics>[]): void {
    const messages = events.map(messageOf);
    this.#sent.update((sent) => [...sent, ...messages]);
    const ids = new Set(messages.map(({ id }) => id));
    this.#waiting.update((waiting) => waiting.filter(({ id }) => !ids.has(id)));
  }

  #publish(message: Message): void {
    const { id, text } = message;
    this.#waiting.update((all) => [...all.filter((one) => one.id !== id), message]);
    this.#socket
      .send(this.room, 'new_message', { content: text }, { id, idempotencyKey: id })
      .catch((error: unknown) => {
        const problem = error instanceof RoomcastError ? error.message : String(error);
        this.#waiting.update((all) => all.map((one) => (one.id === id ? { ...one, state: 'failed', problem } : one)));
      });
  }

  /** What a member says of itself, and not what another one says of it. */
  #deliveredTo(user: string): Position | undefined {
    const event = this.#delivered().get(user);
    return event?.user === user ? event.data : undefined;
  }

  /** Says that the others' messages came to this device, unless another one of the user has said so. */
  #tellDelivered(): void {
    const due = computed(
      (): Position | undefined => {
        const offset = this.#sent().findLast(({ author }) => author !== this.#user)?.offset;
        if (offset === undefined) return undefined;
        const here = { epoch: this.epoch(), offset };
        return reaches(this.#deliveredTo(this.#user), here) ? undefined : here;
      },
      { equal: (one, other) => one?.epoch === other?.epoch && one?.offset === other?.offset },
    );
    effect((onCleanup) => {
      const position = due();
      if (!position) return;
      const say = () =>
        this.#socket
          .send(`delivered:${this.id}`, 'delivered', position, { key: this.#user })
          // With the next message it is said again.
          .catch(() => undefined);
      const timer = setTimeout(() => untracked(say), DELIVERED_AFTER);
      onCleanup(() => clearTimeout(timer));
    });
  }
}

const messageOf = ({ id, user = '?', data, time, offset = 0 }: EventOf<MessageTopics>): Message => ({
  id: id ?? `${offset}`,
  author: user,
  text: data.content,
  time,
  state: 'sent',
  offset,
});

/** Whether what is known of a reader goes as far as an event. */
const reaches = (known: Position | undefined, event: Position): boolean =>
  known !== undefined && known.epoch === event.epoch && known.offset >= event.offset;
