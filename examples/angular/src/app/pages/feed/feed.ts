// The feed. New posts wait behind a banner: nothing moves before the user says so.

import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  type ElementRef,
  effect,
  inject,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { toSignal } from '@angular/core/rxjs-interop';
import { ActivatedRoute } from '@angular/router';

import { problemOf } from '../../shared/services/session.service';
import { FeedRealtimeService } from './feed-realtime.service';
import { PostView } from './post-view';

@Component({
  selector: 'app-feed',
  imports: [PostView],
  templateUrl: './feed.html',
  styleUrl: './feed.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Feed {
  protected readonly feed = inject(FeedRealtimeService);
  readonly #fragment = toSignal(inject(ActivatedRoute).fragment);
  private readonly scroller = viewChild.required<ElementRef<HTMLElement>>('scroller');
  protected readonly text = signal('');
  protected readonly isSending = signal(false);
  protected readonly problem = signal('');
  /** The post to which the address has led already. */
  #led: string | undefined;

  constructor() {
    effect(() => {
      const wanted = this.#fragment();
      if (wanted && this.feed.isLoaded())
        untracked(() => this.feed.reveal(wanted)).catch((error: unknown) => this.problem.set(problemOf(error)));
    });
    afterRenderEffect({
      write: () => {
        this.feed.posts();
        const wanted = this.#fragment() ?? undefined;
        if (wanted === this.#led) return;
        const post = wanted && this.scroller().nativeElement.querySelector<HTMLElement>(`[id="${CSS.escape(wanted)}"]`);
        if (!post) return;
        this.#led = wanted;
        post.scrollIntoView({ block: 'center' });
        post.focus({ preventScroll: true });
      },
    });
  }

  protected showWaiting(): void {
    this.feed.showWaiting();
    const scroller = this.scroller().nativeElement;
    // The button is gone: the focus goes to what it has brought.
    requestAnimationFrame(() => {
      scroller.scrollTop = 0;
      scroller.querySelector<HTMLElement>('article')?.focus({ preventScroll: true });
    });
  }

  protected async publish(): Promise<void> {
    const text = this.text().trim();
    if (!text || this.isSending()) return;
    this.isSending.set(true);
    this.problem.set('');
    try {
      await this.feed.publish(text);
      this.text.set('');
    } catch (error) {
      this.problem.set(problemOf(error));
    } finally {
      this.isSending.set(false);
    }
  }
}
