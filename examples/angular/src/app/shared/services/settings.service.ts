// What the user has chosen for this browser.

import { effect, Injectable, signal } from '@angular/core';

const KEY = 'social:settings';

interface Saved {
  readonly sound?: boolean;
  readonly desktop?: boolean;
  readonly autoRefresh?: boolean;
  readonly typing?: boolean;
}

@Injectable({ providedIn: 'root' })
export class SettingsService {
  readonly #saved = read();
  /** A sound with each notification. */
  readonly sound = signal(this.#saved.sound ?? false);
  /** Notifications of the desktop, while the page is not looked at. */
  readonly desktop = signal(this.#saved.desktop ?? false);
  /** New posts are shown at once, without a banner. */
  readonly autoRefresh = signal(this.#saved.autoRefresh ?? false);
  /** Others see that the user is typing. */
  readonly typing = signal(this.#saved.typing ?? true);

  constructor() {
    effect(() => {
      const all: Saved = {
        sound: this.sound(),
        desktop: this.desktop(),
        autoRefresh: this.autoRefresh(),
        typing: this.typing(),
      };
      try {
        localStorage.setItem(KEY, JSON.stringify(all));
      } catch {
        // A storage that is forbidden or full: it holds for this page.
      }
    });
  }
}

function read(): Saved {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Saved;
  } catch {
    return {};
  }
}
