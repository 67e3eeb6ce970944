// A conversation on the screen: its messages, who is there and who types, and the field for the next message.
//
// Always holds: what a reader looks at stays where it is; only at the end of the list it follows what comes. A conversation counts as
// read when its newest message is in sight of a page that is looked at.

import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  type ElementRef,
  effect,
  inject,
  input,
  linkedSignal,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { RouterLink } from '@angular/router';

import { AttentionService } from '../../shared/services/attention.service';
import { PresenceService } from '../../shared/services/presence.service';
import { SessionService } from '../../shared/services/session.service';
import { SettingsService } from '../../shared/services/settings.service';
import { Avatar } from '../../shared/ui/avatar';
import { Icon } from '../../shared/ui/icon';
import { clock, listed, shortTime } from '../../shared/ui/times';
import { MessagesRealtimeService } from './messages-realtime.service';
import { MessageTicks } from './message-ticks';
import { rowsOf } from './rows';

/** So near to the end is at the end, in pixels. */
const NEAR = 40;

@Component({
  selector: 'app-conversation',
  imports: [Avatar, Icon, MessageTicks, RouterLink],
  templateUrl: './conversation-view.html',
  styleUrl: './conversation-view.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class ConversationView {
  /** Of the address. */
  readonly id = input.required<string>();

  protected readonly messages = inject(MessagesRealtimeService);
  protected readonly session = inject(SessionService);
  readonly #presence = inject(PresenceService);
  readonly #attention = inject(AttentionService);
  readonly #settings = inject(SettingsService);
  private readonly log = viewChild<ElementRef<HTMLElement>>('log');
  private readonly field = viewChild<ElementRef<HTMLTextAreaElement>>('field');

  protected readonly conversation = computed(() => this.messages.conversationOf(this.id()));
  protected readonly title = computed(() => {
    const conversation = this.conversation();
    return conversation ? this.messages.titleOf(conversation) : '';
  });
  readonly #isKnown = computed(() => {
    const conversation = this.conversation();
    return !!conversation && !conversation.isLoading() && this.messages.readTo(conversation) !== undefined;
  });
  /** What had been read when it was opened, if there was more: new is what stands behind it. */
  readonly #readTo = linkedSignal({
    source: () => (this.#isKnown() ? this.conversation() : undefined),
    computation: (conversation) =>
      untracked(() => {
        if (!conversation || this.messages.unreadOf(conversation) === 0) return Infinity;
        return this.messages.readTo(conversation) ?? Infinity;
      }),
  });
  protected readonly rows = computed(() => {
    const conversation = this.conversation();
    if (!conversation) return [];
    const { id } = this.session.opened.user;
    return rowsOf(conversation.messages(), id, this.#readTo(), (message) => conversation.stateOf(message), Date.now());
  });
  /** Each conversation begins at its end. */
  protected readonly isAtEnd = linkedSignal({ source: this.conversation, computation: () => true });
  protected readonly isLoadingOlder = signal(false);
  protected readonly status = computed(() => {
    const [other = ''] = this.conversation()?.others ?? [];
    return this.conversation()?.title ? undefined : this.#presence.statusOf(other);
  });
  /** Who is there, below the title. */
  protected readonly about = computed(() => {
    const { others = [], title } = this.conversation() ?? {};
    if (title) {
      const there = others
        .filter((user) => this.#presence.statusOf(user) !== 'offline')
        .map((user) => this.nameOf(user));
      return there.length > 0 ? `${listed(there)} ${there.length === 1 ? 'is' : 'are'} here` : 'The others are away';
    }
    const seen = this.#presence.lastSeenOf(others[0] ?? '');
    const status = this.status();
    return status === 'offline' && seen
      ? `Last seen ${shortTime(seen)}`
      : status && status.charAt(0).toUpperCase() + status.slice(1);
  });
  protected readonly typing = computed(() => {
    const names = (this.conversation()?.typing() ?? []).map((user) => this.nameOf(user));
    return names.length === 0 ? '' : `${listed(names)} ${names.length === 1 ? 'is' : 'are'} typing`;
  });
  protected readonly clock = clock;

  constructor() {
    effect(() => this.messages.shown.set(this.conversation()));
    inject(DestroyRef).onDestroy(() => this.messages.shown.set(undefined));
    effect(() => {
      const conversation = this.conversation();
      const isRead = this.#attention.isLooking() && this.isAtEnd() && !conversation?.isLoading();
      if (!conversation || !isRead || this.messages.behind(conversation) === 0) return;
      untracked(() => {
        // The line above what is new is drawn first.
        this.#readTo();
        this.messages.read(conversation);
      });
    });
    afterRenderEffect({
      write: () => {
        this.rows();
        const log = this.log()?.nativeElement;
        if (log && untracked(this.isAtEnd)) log.scrollTop = log.scrollHeight;
      },
    });
    afterRenderEffect({
      write: () => {
        this.conversation();
        // On a phone this would open the keyboard over what is to be read.
        if (matchMedia('(pointer: fine)').matches) this.field()?.nativeElement.focus({ preventScroll: true });
      },
    });
  }

  protected nameOf(user: string): string {
    return this.session.personOf(user).name;
  }

  protected scrolled(log: HTMLElement): void {
    this.isAtEnd.set(log.scrollHeight - log.scrollTop - log.clientHeight < NEAR);
  }

  protected toEnd(): void {
    this.isAtEnd.set(true);
    const log = this.log()?.nativeElement;
    if (log) log.scrollTop = log.scrollHeight;
  }

  protected async showOlder(log: HTMLElement): Promise<void> {
    const below = log.scrollHeight - log.scrollTop;
    this.isLoadingOlder.set(true);
    try {
      await this.conversation()?.older();
    } finally {
      this.isLoadingOlder.set(false);
      // Once they are there, what was looked at is where it was.
      requestAnimationFrame(() => (log.scrollTop = log.scrollHeight - below));
    }
  }

  protected type(text: string): void {
    this.conversation()?.type(text, this.#settings.typing());
  }

  protected pressed(event: Event): void {
    // A keyboard on a screen has a key for a new line, and no Shift with it.
    const isSent =
      event instanceof KeyboardEvent && !event.shiftKey && !event.isComposing && matchMedia('(pointer: fine)').matches;
    if (!isSent) return;
    event.preventDefault();
    this.send();
  }

  protected send(): void {
    const conversation = this.conversation();
    const text = conversation?.draft().trim();
    if (!conversation || !text) return;
    conversation.send(text);
    this.toEnd();
  }
}
