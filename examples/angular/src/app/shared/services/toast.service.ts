// Short words in a corner of the page, which go by themselves.
//
// Bounded: of more than three at a time the oldest goes. A toast stays while it is pointed at or has the focus.

import { Injectable, signal } from '@angular/core';

export interface ToastAction {
  readonly label: string;
  run(): void;
}

export interface Toast {
  readonly id: number;
  /** What it is about: of two about the same the newer one is shown. */
  readonly about: string;
  /** Whom it is from. */
  readonly person: string;
  readonly title: string;
  readonly text: string;
  readonly actions: readonly ToastAction[];
}

const MOST = 3;
const STAYS = 7_000;

@Injectable({ providedIn: 'root' })
export class ToastService {
  readonly #toasts = signal<readonly Toast[]>([]);
  readonly #ends = new Map<number, ReturnType<typeof setTimeout>>();
  readonly toasts = this.#toasts.asReadonly();
  #ids = 0;

  show(toast: Omit<Toast, 'id'>): void {
    const id = ++this.#ids;
    this.withdraw(toast.about);
    for (const old of this.#toasts().slice(0, -(MOST - 1))) this.dismiss(old.id);
    this.#toasts.update((all) => [...all, { ...toast, id }]);
    this.release(id);
  }

  dismiss(id: number): void {
    this.hold(id);
    this.#toasts.update((all) => all.filter((toast) => toast.id !== id));
  }

  /** What it was about is over. */
  withdraw(about: string): void {
    for (const toast of this.#toasts()) if (toast.about === about) this.dismiss(toast.id);
  }

  /** It stays for now. */
  hold(id: number): void {
    clearTimeout(this.#ends.get(id));
    this.#ends.delete(id);
  }

  /** It goes in a while. */
  release(id: number): void {
    this.hold(id);
    this.#ends.set(
      id,
      setTimeout(() => this.dismiss(id), STAYS),
    );
  }
}
