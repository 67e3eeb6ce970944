// The user's conversations: which there are, what of them is unread, who has read what the user wrote, and what tells of a new message.
//
// Always holds: a conversation is followed as long as the session, whichever screen is open, so that it is counted and delivered.

import { HttpClient } from '@angular/common/http';
import { computed, DestroyRef, Injectable, inject, signal } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import type { Position } from 'roomcast';
import { receipts } from 'roomcast/receipts';
import { catchError, EMPTY, Observable, retry, switchMap } from 'rxjs';

import { AnnouncerService } from '../../shared/services/announcer.service';
import { AttentionService } from '../../shared/services/attention.service';
import { DesktopService } from '../../shared/services/desktop.service';
import { SessionService } from '../../shared/services/session.service';
import { UnreadService } from '../../shared/services/unread.service';
import { WebsocketService } from '../../shared/services/websocket.service';
import { Conversation } from './conversation';

/** How far each of the others has read, by room and user. */
type Marks = Readonly<Record<string, Readonly<Record<string, Position>>>>;

@Injectable()
export class MessagesRealtimeService {
  readonly #session = inject(SessionService);
  readonly #user = this.#session.opened.user.id;
  readonly #socket = inject(WebsocketService);
  readonly #unread = inject(UnreadService);
  readonly #attention = inject(AttentionService);
  readonly #announcer = inject(AnnouncerService);
  readonly #http = inject(HttpClient);
  readonly #receipts = receipts(this.#socket.client);
  /** What the pods have told since the page is there. */
  readonly #told = signal(this.#receipts.snapshot);
  /** What was told before, or while the connection was away, is the backend's to say. */
  readonly #marks = signal<Marks>({});

  readonly conversations: readonly Conversation[] = this.#session.opened.conversations.map(
    (info) =>
      new Conversation(info, this.#user, this.#socket, (conversation, user) => this.#readBy(conversation, user)),
  );
  /** The one that is on the screen. */
  readonly shown = signal<Conversation | undefined>(undefined);
  /** The one with the newest message first. */
  readonly sorted = computed(() =>
    this.conversations.toSorted((one, other) => (other.last()?.time ?? 0) - (one.last()?.time ?? 0)),
  );
  readonly unread = computed(() => this.conversations.reduce((sum, one) => sum + this.unreadOf(one), 0));

  constructor() {
    const stop = this.#receipts.onChange(({ snapshot }) => this.#told.set(snapshot));
    inject(DestroyRef).onDestroy(() => {
      stop();
      this.#receipts.close();
    });
    this.#joins()
      .pipe(
        // Without them less is shown as read, until the next receipt.
        switchMap(() => this.#askForMarks().pipe(catchError(() => EMPTY))),
        takeUntilDestroyed(),
      )
      .subscribe((marks) => this.#marks.set(marks));
    const news = this.conversations.map(({ room }) => this.#socket.on(room, 'new_message'));
    for (const [at, events] of news.entries())
      events.pipe(takeUntilDestroyed()).subscribe(({ user, id, data }) => {
        const conversation = this.conversations[at];
        if (conversation && user && user !== this.#user) this.#announce(conversation, user, id ?? '', data.content);
      });
    inject(DesktopService)
      .actions$.pipe(takeUntilDestroyed())
      .subscribe(({ action, url }) => {
        const conversation = this.conversations.find((one) => urlOf(one) === url);
        if (conversation && action === 'read') this.read(conversation);
      });
  }

  conversationOf(id: string): Conversation | undefined {
    return this.conversations.find((one) => one.id === id);
  }

  titleOf({ title, others }: Conversation): string {
    return title ?? this.#session.personOf(others[0] ?? '').name;
  }

  /** How many messages stand behind the last one that counts as read, the user's own too. */
  behind({ room }: Conversation): number {
    return this.#unread.countOf(room);
  }

  /** How many of the others' messages the user has not read. */
  unreadOf(conversation: Conversation): number {
    const read = this.#unread.readTo(conversation.room);
    const own = read ? conversation.ownAfter(read) : 0;
    return Math.max(this.behind(conversation) - own, 0);
  }

  /** The last message that the user has read, once that is known. */
  readTo(conversation: Conversation): number | undefined {
    const read = this.#unread.readTo(conversation.room);
    return read?.epoch === conversation.epoch() ? read.offset : undefined;
  }

  read(conversation: Conversation): void {
    if (this.behind(conversation) > 0) this.#unread.read(conversation.room);
    this.#announcer.withdraw(conversation.room);
  }

  /** How far a user has read: of what was told and what the backend knows, what goes further. */
  #readBy({ room, epoch }: Conversation, user: string): Position | undefined {
    const known = [this.#told().get(room)?.get(user), this.#marks()[room]?.[user]];
    const here = known.filter((position) => position?.epoch === epoch());
    return here.toSorted((one, other) => (other?.offset ?? 0) - (one?.offset ?? 0))[0];
  }

  /**
   * Each time that the user's own room is joined, receipts come again: what others read before that is kept, and what they read later is
   * told. (That the connection is open would be too early; and of a connection that was away for a moment only, a signal shows nothing.)
   */
  #joins(): Observable<void> {
    return new Observable((subscriber) => {
      const own = this.#socket.client.subscribe(`notification:${this.#user}`, { load: () => undefined });
      let isJoined = false;
      const look = () => {
        const before = isJoined;
        isJoined = own.state === 'joined';
        // The end of a `load` is told as a change, too.
        if (isJoined && !before) subscriber.next();
      };
      own.onChange(look);
      look();
      return () => own.unsubscribe();
    });
  }

  #askForMarks(): Observable<Marks> {
    return this.#http.get<Marks>('/api/marks').pipe(retry({ count: 3, delay: 2_000 }));
  }

  #announce(conversation: Conversation, user: string, id: string, content: string): void {
    if (conversation === this.shown() && this.#attention.isLooking()) return;
    const { name } = this.#session.personOf(user);
    const title = conversation.title ? `${name} in ${conversation.title}` : name;
    const { room } = conversation;
    const read = () => this.read(conversation);
    this.#announcer.announce({ id, about: room, person: user, title, text: content, url: urlOf(conversation), read });
  }
}

const urlOf = ({ id }: Conversation): string => `/messages/${id}`;
