// A person's letters on a disc, with a dot that says whether it is there.

import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

import type { Status } from '../rooms';

@Component({
  selector: 'app-avatar',
  template: `
    <span class="face" aria-hidden="true">{{ letters() }}</span>
    @if (status(); as now) {
      <span class="dot" [class]="now" [title]="now"></span>
      <span class="unseen">{{ now }}</span>
    }
  `,
  styleUrl: './avatar.css',
  host: { '[style.--hue]': 'hue()', '[attr.data-status]': 'status()' },
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Avatar {
  /** Whose colour it has. */
  readonly person = input.required<string>();
  readonly name = input.required<string>();
  readonly status = input<Status>();
  protected readonly letters = computed(() => [...this.name().replace(/^The /, '')].slice(0, 2).join(''));
  /** The same one everywhere: a hue, because how light it is depends on the scheme. */
  protected readonly hue = computed(() => {
    let hash = 11;
    for (const character of this.person()) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
    // The golden angle keeps hues apart.
    return (hash * 137.508) % 360;
  });
}
