// Whether the page is being looked at: only then something counts as read.

import { DestroyRef, Injectable, inject, signal } from '@angular/core';

@Injectable({ providedIn: 'root' })
export class AttentionService {
  readonly #isLooking = signal(isLooking());
  readonly isLooking = this.#isLooking.asReadonly();

  constructor() {
    const over = new AbortController();
    const { signal } = over;
    const look = () => this.#isLooking.set(isLooking());
    for (const event of ['focus', 'blur', 'pageshow']) addEventListener(event, look, { signal });
    document.addEventListener('visibilitychange', look, { signal });
    inject(DestroyRef).onDestroy(() => over.abort());
  }
}

const isLooking = () => document.visibilityState === 'visible' && document.hasFocus();
