// The feed: the posts that are shown, those that wait until the user wants to see them, and counts as they change.
//
// The pods collect news for 30 s. Always holds: a post stands there once; what is read does not move because something came.

import { HttpClient } from '@angular/common/http';
import { effect, Injectable, inject, signal, untracked } from '@angular/core';
import type { EventOf, Position } from 'roomcast';
import { firstValueFrom } from 'rxjs';

import type { FeedTopics, Post, PostComment } from '../../shared/rooms';
import { SettingsService } from '../../shared/services/settings.service';
import { WebsocketService } from '../../shared/services/websocket.service';

interface State {
  /** The newest first. */
  readonly posts: readonly Post[];
  /** The last event that the posts contain. */
  readonly position?: Position;
}

@Injectable()
export class FeedRealtimeService {
  readonly #http = inject(HttpClient);
  readonly #settings = inject(SettingsService);
  readonly #posts = signal<readonly Post[]>([]);
  readonly #waiting = signal<readonly Post[]>([]);
  readonly #isLoaded = signal(false);
  /** The newest first. */
  readonly posts = this.#posts.asReadonly();
  /** What came since, the newest first. */
  readonly waiting = this.#waiting.asReadonly();
  readonly isLoaded = this.#isLoaded.asReadonly();

  constructor() {
    inject(WebsocketService).subscribe('feed:home', {
      load: () => this.#load(),
      event: (event) => this.#hear(event),
    });
    effect(() => {
      if (this.#settings.autoRefresh() && this.#waiting().length > 0) untracked(() => this.showWaiting());
    });
  }

  showWaiting(): void {
    const news = this.#waiting();
    this.#waiting.set([]);
    this.#posts.update((posts) => [...news, ...posts]);
  }

  /** Sees to it that a post is shown, which may be newer than the news. */
  async reveal(wanted: string): Promise<void> {
    const isThere = (posts: readonly Post[]) => posts.some(({ id }) => id === wanted);
    if (isThere(this.#posts())) return;
    if (!isThere(this.#waiting())) await this.#load();
    this.showWaiting();
  }

  async publish(text: string): Promise<void> {
    const post = await firstValueFrom(this.#http.post<Post>('/api/posts', { text }));
    this.#waiting.update((waiting) => waiting.filter(({ id }) => id !== post.id));
    if (!this.#posts().some(({ id }) => id === post.id)) this.#posts.update((posts) => [post, ...posts]);
  }

  /** Likes a post, or likes it no more. */
  async like({ id }: Post): Promise<void> {
    const post = await firstValueFrom(this.#http.post<Post>(`/api/posts/${id}/like`, {}));
    this.#change(id, () => post);
  }

  comments({ id }: Post): Promise<readonly PostComment[]> {
    return firstValueFrom(this.#http.get<readonly PostComment[]>(`/api/posts/${id}/comments`));
  }

  async comment({ id }: Post, text: string): Promise<PostComment> {
    return firstValueFrom(this.#http.post<PostComment>(`/api/posts/${id}/comments`, { text }));
  }

  async #load(): Promise<Position | undefined> {
    const { posts, position } = await firstValueFrom(this.#http.get<State>('/api/posts'));
    const fresh = new Map(posts.map((post) => [post.id, post]));
    const known = new Set(this.#posts().map(({ id }) => id));
    if (this.#isLoaded()) {
      this.#posts.update((all) => all.map((post) => fresh.get(post.id) ?? post));
      this.#waiting.set(posts.filter(({ id }) => !known.has(id)));
    } else this.#posts.set(posts);
    this.#isLoaded.set(true);
    return position;
  }

  #hear({ topic, data }: EventOf<FeedTopics>): void {
    if (topic === 'like_count') this.#change(data.post_id, (post) => ({ ...post, likes: data.count }));
    else if (topic === 'comment_count') this.#change(data.post_id, (post) => ({ ...post, comments: data.count }));
    else if (![...this.#posts(), ...this.#waiting()].some(({ id }) => id === data.id))
      this.#waiting.update((waiting) => [data, ...waiting]);
  }

  #change(id: string, to: (post: Post) => Post): void {
    const change = (posts: readonly Post[]) => posts.map((post) => (post.id === id ? to(post) : post));
    this.#posts.update(change);
    this.#waiting.update(change);
  }
}
