// A post: what it says, who likes it, and what was said to it.

import { ChangeDetectionStrategy, Component, computed, inject, input, signal } from '@angular/core';

import type { Post, PostComment } from '../../shared/rooms';
import { PresenceService } from '../../shared/services/presence.service';
import { problemOf, SessionService } from '../../shared/services/session.service';
import { Avatar } from '../../shared/ui/avatar';
import { Icon } from '../../shared/ui/icon';
import { ago } from '../../shared/ui/times';
import { FeedRealtimeService } from './feed-realtime.service';

@Component({
  selector: 'app-post',
  imports: [Avatar, Icon],
  templateUrl: './post-view.html',
  styleUrl: './post-view.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class PostView {
  readonly post = input.required<Post>();
  readonly #feed = inject(FeedRealtimeService);
  readonly #session = inject(SessionService);
  readonly #presence = inject(PresenceService);
  /** The comments, while they are shown. */
  protected readonly comments = signal<readonly PostComment[] | undefined>(undefined);
  protected readonly draft = signal('');
  protected readonly problem = signal('');
  protected readonly author = computed(() => this.nameOf(this.post().author));
  protected readonly status = computed(() => this.#presence.statusOf(this.post().author));
  protected readonly ago = computed(() => ago(Date.parse(this.post().created_at)));

  protected nameOf(user: string): string {
    return this.#session.personOf(user).name;
  }

  protected like(): Promise<void> {
    return this.#trying(() => this.#feed.like(this.post()));
  }

  protected toggleComments(): Promise<void> {
    return this.#trying(async () =>
      this.comments.set(this.comments() ? undefined : await this.#feed.comments(this.post())),
    );
  }

  protected comment(): Promise<void> {
    return this.#trying(async () => {
      const text = this.draft().trim();
      if (!text) return;
      await this.#feed.comment(this.post(), text);
      this.draft.set('');
      this.comments.set(await this.#feed.comments(this.post()));
    });
  }

  async #trying(what: () => Promise<void>): Promise<void> {
    try {
      this.problem.set('');
      await what();
    } catch (error) {
      this.problem.set(problemOf(error));
    }
  }
}
