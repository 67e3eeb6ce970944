// The user's notifications: the newest ones, how many are unread, and what tells of a new one.
//
// What is read is a position, kept by the pods for all devices: a notification is read if it does not stand behind it. Always holds: a
// notification stands there once.

import { computed, Injectable, inject, signal } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import type { EventOf, Position } from 'roomcast';

import type { Notice, NotificationTopics } from '../rooms';
import { AnnouncerService } from './announcer.service';
import { DesktopService } from './desktop.service';
import { SessionService } from './session.service';
import { UnreadService } from './unread.service';
import { WebsocketService } from './websocket.service';

export interface NotificationItem extends Notice {
  readonly position: Position;
  readonly isRead: boolean;
}

/** As many as the preset keeps. */
const MOST = 100;

const DID: Record<Notice['type'], string> = {
  like: 'likes your post',
  comment: 'commented on your post',
  mention: 'mentioned you',
};

/** What happened, in words. */
export const titleOf = ({ actor, type }: Notice): string => `${actor.username} ${DID[type]}`;

/** Where it leads. */
export const urlOf = ({ post_id }: Notice): string => `/feed#${post_id}`;

@Injectable()
export class NotificationRealtimeService {
  readonly #socket = inject(WebsocketService);
  readonly #unread = inject(UnreadService);
  readonly #announcer = inject(AnnouncerService);
  readonly #room = `notification:${inject(SessionService).opened.user.id}` as const;
  readonly #events = signal<readonly EventOf<NotificationTopics>[]>([]);
  readonly #epoch = signal('');
  readonly isLoading = signal(true);
  /** Whether the screen shows them. */
  readonly isShown = signal(false);

  /** The newest first. */
  readonly items = computed<readonly NotificationItem[]>(() => {
    const epoch = this.#epoch();
    const read = this.#unread.readTo(this.#room);
    return this.#events()
      .map(({ data, offset = 0 }) => {
        const isRead = read?.epoch === epoch && read.offset >= offset;
        return { ...data, position: { epoch, offset }, isRead };
      })
      .toReversed();
  });
  readonly unread = computed(() => this.#unread.countOf(this.#room));

  constructor() {
    const subscription = this.#socket.subscribe(this.#room, {
      load: async () => {
        const { events, position } = await this.#socket.history(this.#room, MOST);
        this.#epoch.set(position.epoch);
        this.#events.set(events);
        this.isLoading.set(false);
        return position;
      },
      event: (event) => {
        this.#epoch.set(subscription.position?.epoch ?? '');
        this.#events.update((events) => [...events, event].slice(-MOST));
      },
    });
    this.#socket
      .on(this.#room, 'new_notification')
      .pipe(takeUntilDestroyed())
      .subscribe(({ data }) => this.#announce(data));
    inject(DesktopService)
      .actions$.pipe(takeUntilDestroyed())
      .subscribe(({ id }) => this.#markRead(id));
  }

  /** This one was read, and so were those before it. */
  markRead({ id, position }: NotificationItem): void {
    this.#unread.read(this.#room, position);
    this.#announcer.withdraw(id);
  }

  markAllRead(): void {
    this.#unread.read(this.#room);
    for (const { id } of this.items()) this.#announcer.withdraw(id);
  }

  #announce(notice: Notice): void {
    const { id, actor, text } = notice;
    const read = () => this.#markRead(id);
    this.#announcer.announce({
      id,
      about: id,
      person: actor.id,
      title: titleOf(notice),
      text,
      url: urlOf(notice),
      isInSight: this.isShown(),
      read,
    });
  }

  #markRead(id: string): void {
    const item = this.items().find((one) => one.id === id);
    if (item) this.markRead(item);
  }
}
