// What the screen is called. The title of the tab says so, and how much is unread.

import { Injectable, signal } from '@angular/core';
import { type RouterStateSnapshot, TitleStrategy } from '@angular/router';

@Injectable({ providedIn: 'root' })
export class PageTitle extends TitleStrategy {
  readonly #title = signal('');
  readonly title = this.#title.asReadonly();

  override updateTitle(state: RouterStateSnapshot): void {
    this.#title.set(this.buildTitle(state) ?? '');
  }
}
