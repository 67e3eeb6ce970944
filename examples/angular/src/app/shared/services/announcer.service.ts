// Tells the user of something new, wherever it comes from: a toast, a sound, a notification of the desktop.

import { Injectable, inject } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import { Router } from '@angular/router';

import { DesktopService } from './desktop.service';
import { SoundService } from './sound.service';
import { ToastService } from './toast.service';

export interface Announcement {
  readonly id: string;
  /** What it is about: of two about the same the newer one is shown. */
  readonly about: string;
  /** Whom it is from. */
  readonly person: string;
  readonly title: string;
  readonly text: string;
  /** The screen that it leads to. */
  readonly url: string;
  /** Whether the screen shows it anyhow. */
  readonly isInSight?: boolean;
  /** Marks it as read. */
  read(): void;
}

@Injectable({ providedIn: 'root' })
export class AnnouncerService {
  readonly #router = inject(Router);
  readonly #toasts = inject(ToastService);
  readonly #sound = inject(SoundService);
  readonly #desktop = inject(DesktopService);

  constructor() {
    this.#desktop.actions$.pipe(takeUntilDestroyed()).subscribe(({ action, url }) => {
      if (action === 'open') void this.#router.navigateByUrl(url);
    });
  }

  announce({ id, about, person, title, text, url, read, isInSight = false }: Announcement): void {
    const open = () => void this.#router.navigateByUrl(url);
    const actions = [
      { label: 'Open', run: open },
      { label: 'Mark as read', run: read },
    ];
    if (!isInSight) this.#toasts.show({ about, person, title, text, actions });
    this.#sound.play();
    // A browser that refuses has shown the toast nevertheless.
    this.#desktop.show({ id, title, text, url }).catch((error: unknown) => reportError(error));
  }

  /** What it was about was read. */
  withdraw(about: string): void {
    this.#toasts.withdraw(about);
  }
}
