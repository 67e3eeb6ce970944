// The user's notifications: what is new stands out until it was read, on whichever device.

import { ChangeDetectionStrategy, Component, DestroyRef, inject } from '@angular/core';
import { Router } from '@angular/router';

import {
  type NotificationItem,
  NotificationRealtimeService,
  titleOf,
  urlOf,
} from '../../shared/services/notification-realtime.service';
import { Avatar } from '../../shared/ui/avatar';
import { ago } from '../../shared/ui/times';

@Component({
  selector: 'app-notifications',
  imports: [Avatar],
  templateUrl: './notifications.html',
  styleUrl: './notifications.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Notifications {
  protected readonly notifications = inject(NotificationRealtimeService);
  readonly #router = inject(Router);
  protected readonly titleOf = titleOf;

  constructor() {
    this.notifications.isShown.set(true);
    inject(DestroyRef).onDestroy(() => this.notifications.isShown.set(false));
  }

  protected open(item: NotificationItem): void {
    this.notifications.markRead(item);
    void this.#router.navigateByUrl(urlOf(item));
  }

  protected ago({ created_at }: NotificationItem): string {
    return ago(Date.parse(created_at));
  }
}
