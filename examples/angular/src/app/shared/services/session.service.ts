// Who uses this page: asks the backend for a token, and for whom and what there is.
//
// A tab is one person's, until it is closed: two tabs may be two people's.

import { HttpClient, HttpErrorResponse } from '@angular/common/http';
import { computed, Injectable, inject, signal } from '@angular/core';
import { firstValueFrom } from 'rxjs';

import type { ConversationInfo, Person } from '../rooms';

export interface Session {
  readonly user: Person;
  readonly token: string;
  /** Where the pods are. */
  readonly pods: readonly string[];
  readonly people: readonly Person[];
  readonly conversations: readonly ConversationInfo[];
}

@Injectable({ providedIn: 'root' })
export class SessionService {
  /** For requests to the backend. */
  token: string | undefined;
  readonly #http = inject(HttpClient);
  readonly #current = signal<Session | undefined>(undefined);
  readonly #isBeginning = signal(false);
  /** A token that no connection has used yet. */
  #fresh: string | undefined;

  readonly state = computed(() => (this.#current() ? 'open' : this.#isBeginning() ? 'beginning' : 'none'));

  constructor() {
    const before = remembered.get();
    if (before === null) return;
    this.#isBeginning.set(true);
    // What presents tokens needs this service, so that it is made first.
    Promise.resolve()
      .then(() => this.open(before))
      // Then it is asked again who one is.
      .catch(() => undefined)
      .finally(() => this.#isBeginning.set(false));
  }

  /** The session, for what exists only within one. */
  get opened(): Session {
    const session = this.#current();
    if (!session) throw new Error('nobody has signed in');
    return session;
  }

  people(): Promise<readonly Person[]> {
    return firstValueFrom(this.#http.get<readonly Person[]>('/api/people'));
  }

  async open(user: string): Promise<void> {
    const session = await this.#ask(user);
    remembered.set(user);
    this.#fresh = session.token;
    this.#current.set(session);
  }

  close(): void {
    remembered.set(null);
    this.token = undefined;
    this.#current.set(undefined);
  }

  /** A token for a connection: the session's own first, later ones from the backend. */
  async nextToken(): Promise<string> {
    const token = this.#fresh ?? (await this.#ask(this.opened.user.id)).token;
    this.#fresh = undefined;
    return token;
  }

  /** Who has this id. */
  personOf(id: string): Person {
    return this.opened.people.find((one) => one.id === id) ?? { id, name: id };
  }

  async #ask(user: string): Promise<Session> {
    const session = await firstValueFrom(this.#http.get<Session>('/api/session', { params: { user } }));
    this.token = session.token;
    return session;
  }
}

/** What went wrong with a request, in words for people. */
export function problemOf(error: unknown): string {
  const said = error instanceof HttpErrorResponse ? (error.error as { error?: string } | null)?.error : undefined;
  return said ?? 'The server does not answer. Try again.';
}

const remembered = {
  get: (): string | null => {
    try {
      return sessionStorage.getItem('user');
    } catch {
      return null;
    }
  },
  set: (user: string | null): void => {
    try {
      if (user === null) sessionStorage.removeItem('user');
      else sessionStorage.setItem('user', user);
    } catch {
      // A storage that is forbidden: it is asked again.
    }
  },
};
