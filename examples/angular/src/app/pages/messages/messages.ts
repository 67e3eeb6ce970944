// The conversations, and the one that is open beside them; on a phone one of the two.

import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';
import { RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';

import { PresenceService } from '../../shared/services/presence.service';
import { SessionService } from '../../shared/services/session.service';
import { Avatar } from '../../shared/ui/avatar';
import { Badge } from '../../shared/ui/badge';
import { shortTime } from '../../shared/ui/times';
import type { Conversation } from './conversation';
import { MessagesRealtimeService } from './messages-realtime.service';

@Component({
  selector: 'app-messages',
  imports: [Avatar, Badge, RouterLink, RouterLinkActive, RouterOutlet],
  templateUrl: './messages.html',
  styleUrl: './messages.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { '[class.has-open]': 'messages.shown() !== undefined' },
})
export class Messages {
  protected readonly messages = inject(MessagesRealtimeService);
  readonly #session = inject(SessionService);
  readonly #presence = inject(PresenceService);

  protected readonly rows = computed(() =>
    this.messages.sorted().map((conversation) => {
      const { id, title, others } = conversation;
      const last = conversation.last();
      return {
        id,
        title: this.messages.titleOf(conversation),
        person: title ?? others[0] ?? '',
        status: title ? undefined : this.#presence.statusOf(others[0] ?? ''),
        said: this.#said(conversation),
        isTyping: conversation.typing().length > 0,
        time: last && shortTime(last.time),
        unread: this.messages.unreadOf(conversation),
      };
    }),
  );

  #said(conversation: Conversation): string {
    if (conversation.typing().length > 0) return 'typing…';
    const last = conversation.last();
    if (!last) return conversation.problem() ?? (conversation.isLoading() ? 'Loading…' : 'Say hello');
    const isOwn = last.author === this.#session.opened.user.id;
    const who = isOwn ? 'You: ' : conversation.title ? `${this.#session.personOf(last.author).name}: ` : '';
    return who + last.text;
  }
}
