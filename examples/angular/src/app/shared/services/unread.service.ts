// What the user has not read, in all conversations and notifications, over all of its devices.

import { Injectable, inject } from '@angular/core';
import type { Position } from 'roomcast';
import { unread } from 'roomcast/angular';

import { SessionService } from './session.service';
import { WebsocketService } from './websocket.service';

/** A room whose events are counted. */
export type CountedRoom = `message:${string}` | `notification:${string}`;

@Injectable()
export class UnreadService {
  readonly #session = inject(SessionService).opened;
  readonly #unread = unread(
    inject(WebsocketService).client,
    `notification:${this.#session.user.id}`,
    ...this.#session.conversations.map(({ id }) => `message:${id}` as const),
  );

  countOf(room: CountedRoom): number {
    return this.#unread().rooms.get(room)?.unread ?? 0;
  }

  /** The last event that was read. */
  readTo(room: CountedRoom): Position | undefined {
    return this.#unread().rooms.get(room)?.position;
  }

  /** The user has read up to there; without a position, all that is in the room. */
  read(room: CountedRoom, position?: Position): void {
    this.#unread().read(room, position);
  }
}
