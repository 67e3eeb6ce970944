// The application of a person that has signed in: the way to its screens, what asks for attention, and how the connection is.
//
// What follows rooms is provided here, and so ends when the person signs out.

import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  type ElementRef,
  inject,
  viewChild,
} from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import { Title } from '@angular/platform-browser';
import { NavigationEnd, Router, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import type { ClientState } from 'roomcast';
import { filter, map, pairwise, startWith } from 'rxjs';

import { FeedRealtimeService } from '../pages/feed/feed-realtime.service';
import { MessagesRealtimeService } from '../pages/messages/messages-realtime.service';
import { NotificationRealtimeService } from '../shared/services/notification-realtime.service';
import { PresenceService } from '../shared/services/presence.service';
import { SessionService } from '../shared/services/session.service';
import { UnreadService } from '../shared/services/unread.service';
import { WebsocketService } from '../shared/services/websocket.service';
import { Avatar } from '../shared/ui/avatar';
import { Badge } from '../shared/ui/badge';
import { Icon, type IconName } from '../shared/ui/icon';
import { Toasts } from '../shared/ui/toasts';
import { PageTitle } from './page-title';

interface Destination {
  readonly path: string;
  readonly name: string;
  readonly icon: IconName;
  /** How much is new there, and of what. */
  readonly count: number;
  readonly of: string;
}

const STATES: Record<ClientState['kind'], string> = {
  idle: 'Not connected',
  connecting: 'Connecting…',
  open: 'Connected',
  waiting: 'Offline: back as soon as the network is',
  closed: 'Disconnected',
};

@Component({
  selector: 'app-shell',
  imports: [Avatar, Badge, Icon, RouterLink, RouterLinkActive, RouterOutlet, Toasts],
  templateUrl: './shell.html',
  styleUrl: './shell.css',
  providers: [
    WebsocketService,
    UnreadService,
    PresenceService,
    MessagesRealtimeService,
    NotificationRealtimeService,
    FeedRealtimeService,
  ],
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Shell {
  protected readonly socket = inject(WebsocketService);
  protected readonly user = inject(SessionService).opened.user;
  readonly #presence = inject(PresenceService);
  readonly #messages = inject(MessagesRealtimeService);
  readonly #notifications = inject(NotificationRealtimeService);
  readonly #feed = inject(FeedRealtimeService);
  private readonly main = viewChild.required<ElementRef<HTMLElement>>('main');

  protected readonly status = computed(() => this.#presence.statusOf(this.user.id));
  protected readonly destinations = computed<readonly Destination[]>(() => [
    { path: '/messages', name: 'Messages', icon: 'chat', count: this.#messages.unread(), of: 'unread messages' },
    {
      path: '/notifications',
      name: 'Notifications',
      icon: 'bell',
      count: this.#notifications.unread(),
      of: 'unread notifications',
    },
    { path: '/feed', name: 'Feed', icon: 'feed', count: this.#feed.waiting().length, of: 'new posts' },
    { path: '/settings', name: 'Settings', icon: 'gear', count: 0, of: '' },
  ]);
  protected readonly connection = computed(() => {
    const state = this.socket.state();
    return state.kind === 'closed' && state.error ? `Disconnected: ${state.error.message}` : STATES[state.kind];
  });

  constructor() {
    const title = inject(Title);
    const page = inject(PageTitle);
    effect(() => {
      const unread = this.#messages.unread() + this.#notifications.unread();
      title.setTitle(`${unread > 0 ? `(${unread}) ` : ''}${page.title()} – Commons`);
    });
    // Another screen has the focus from its beginning; within one it stays where it is.
    const router = inject(Router);
    router.events
      .pipe(
        filter((event) => event instanceof NavigationEnd),
        map(({ urlAfterRedirects }) => urlAfterRedirects),
        startWith(router.url),
        map((url) => url.split(/[/#?]/)[1]),
        pairwise(),
        filter(([before, now]) => before !== now),
        takeUntilDestroyed(),
      )
      .subscribe(() => this.toMain());
  }

  protected toMain(): void {
    this.main().nativeElement.focus();
  }
}
