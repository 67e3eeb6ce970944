// Notifications of the desktop, with buttons: the service worker shows them, and says which button was pressed.
//
// Always holds: they come only where the user has asked for them, and while the page is not looked at.

import { DestroyRef, Injectable, inject, signal } from '@angular/core';
import { Subject } from 'rxjs';

import { AttentionService } from './attention.service';
import { SettingsService } from './settings.service';

export interface DesktopNotice {
  /** Of two with the same id the newer one is shown. */
  readonly id: string;
  readonly title: string;
  readonly text: string;
  /** The screen that it leads to. */
  readonly url: string;
}

/** `open` is also what a click beside the buttons means. */
export interface DesktopAction {
  readonly action: 'open' | 'read';
  readonly id: string;
  readonly url: string;
}

const WORKER = '/notify-worker.js';

@Injectable({ providedIn: 'root' })
export class DesktopService {
  readonly #settings = inject(SettingsService);
  readonly #attention = inject(AttentionService);
  readonly #actions = new Subject<DesktopAction>();
  /** What was pressed. */
  readonly actions$ = this.#actions.asObservable();
  readonly isPossible = 'Notification' in globalThis && 'serviceWorker' in navigator;
  readonly permission = signal(this.isPossible ? Notification.permission : 'denied');

  constructor() {
    if (!this.isPossible) return;
    const over = new AbortController();
    const { signal } = over;
    const pass = ({ data }: MessageEvent<DesktopAction>) => this.#actions.next(data);
    navigator.serviceWorker.addEventListener('message', pass, { signal });
    inject(DestroyRef).onDestroy(() => over.abort());
    if (this.#settings.desktop()) void this.#register();
  }

  /** Asks the user, whose answer the browser keeps. */
  async turnOn(): Promise<void> {
    this.permission.set(await Notification.requestPermission());
    const isGranted = this.permission() === 'granted';
    this.#settings.desktop.set(isGranted);
    if (isGranted) await this.#register();
  }

  async show({ id, title, text, url }: DesktopNotice): Promise<void> {
    if (!this.#settings.desktop() || this.permission() !== 'granted' || this.#attention.isLooking()) return;
    const worker = await this.#register();
    const actions = [
      { action: 'open', title: 'Open' },
      { action: 'read', title: 'Mark as read' },
    ];
    // The types of browsers do not know buttons yet.
    const options: NotificationOptions & { readonly actions: typeof actions } = {
      body: text,
      tag: id,
      data: { id, url },
      actions,
    };
    await worker.showNotification(title, options);
  }

  async #register(): Promise<ServiceWorkerRegistration> {
    await navigator.serviceWorker.register(WORKER);
    return navigator.serviceWorker.ready;
  }
}
