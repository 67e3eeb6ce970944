// Whether the people that the user knows are there, over all their devices.

import { Injectable, inject, type Signal } from '@angular/core';
import type { EventOf } from 'roomcast';
import { map } from 'roomcast/angular';

import type { PresenceTopics, Status } from '../rooms';
import { SessionService } from './session.service';
import { WebsocketService } from './websocket.service';

@Injectable()
export class PresenceService {
  readonly #socket = inject(WebsocketService);
  readonly #session = inject(SessionService);
  /** Of each person the newest word about it. */
  readonly #people = new Map<string, Signal<ReadonlyMap<string, EventOf<PresenceTopics>>>>(
    this.#session.opened.people.map(({ id }) => [
      id,
      map(this.#socket.client, `presence:${id}`, { keyless: 'status' }),
    ]),
  );

  /** A person of whom nothing was said is as good as offline; but for the user, of whom it was not said yet. */
  statusOf(user: string): Status {
    return this.#told(user)?.status ?? (user === this.#session.opened.user.id ? 'online' : 'offline');
  }

  /** When one that is offline was there last: milliseconds since 1970. */
  lastSeenOf(user: string): number | undefined {
    return this.#told(user)?.last_seen;
  }

  /** How the user itself is seen, on all its devices and over reconnects. */
  show(status: Status): Promise<void> {
    return this.#socket.show(status);
  }

  #told(user: string) {
    return this.#people.get(user)?.().get('status')?.data;
  }
}
