// How many of something there are, on a disc; nothing for none.

import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

@Component({
  selector: 'app-badge',
  template: `
    @if (count() > 0) {
      <span class="badge">{{ text() }}<span class="unseen"> {{ of() }}</span></span>
    }
  `,
  styles: `
    .badge {
      display: inline-block;
      min-width: 1.4rem;
      padding: 0 0.4rem;
      border-radius: 999px;
      background: var(--mark);
      color: var(--on-mark);
      font-size: 0.78rem;
      font-weight: 700;
      line-height: 1.4rem;
      text-align: center;
      font-variant-numeric: tabular-nums;
    }
  `,
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Badge {
  readonly count = input.required<number>();
  /** What is counted, for those who do not see where it stands. */
  readonly of = input.required<string>();
  protected readonly text = computed(() => (this.count() > 99 ? '99+' : `${this.count()}`));
}
