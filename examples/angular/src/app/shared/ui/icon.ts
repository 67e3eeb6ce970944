// The pictures of the page, drawn with one line each; a text beside it says what it means.

import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

const PATHS = {
  alert: 'M12 7v6m0 3.5v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z',
  back: 'm14.5 6-6 6 6 6',
  bell: 'M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 1.5h-15L6 16.5ZM10 20.5h4',
  chat: 'M4 5.5h16v11h-9l-4.5 3.5v-3.5H4v-11Z',
  check: 'm6 12.5 4 4 8-9',
  checks: 'm2.5 12.5 4 4 8-9m-2.5 8 1 1 8-9',
  clock: 'M12 7.5V12l3 2M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Z',
  close: 'm7 7 10 10M17 7 7 17',
  comment:
    'M12 4.5c5 0 8.5 3 8.5 7s-3.5 7-8.5 7c-1 0-2-.1-2.9-.4L4.5 20l1-3.5C4.3 15.2 3.5 13.5 3.5 11.5c0-4 3.5-7 8.5-7Z',
  down: 'm6 10 6 6 6-6',
  feed: 'M4.5 5h15v5.5h-15V5Zm0 9.5h15m-15 4.5h9',
  gear: 'M5 7.5h8m5 0h1M5 16.5h1m5 0h8M15.5 5.25a2.25 2.25 0 1 0 0 4.5 2.25 2.25 0 0 0 0-4.5Zm-7 9a2.25 2.25 0 1 0 0 4.5 2.25 2.25 0 0 0 0-4.5Z',
  heart: 'M12 19.5s-8-4.6-8-10a4.3 4.3 0 0 1 8-2.2 4.3 4.3 0 0 1 8 2.2c0 5.4-8 10-8 10Z',
  send: 'm5 12-1.5-7.5L21 12 3.5 19.5 5 12Zm0 0h8',
} as const;

export type IconName = keyof typeof PATHS;

@Component({
  selector: 'app-icon',
  template: `<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path [attr.d]="path()" /></svg>`,
  styles: `
    :host {
      display: inline-flex;
      flex: none;
    }
    svg {
      width: 1em;
      height: 1em;
      fill: var(--filled, none);
      stroke: currentcolor;
      stroke-width: 1.8;
      stroke-linecap: round;
      stroke-linejoin: round;
    }
  `,
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Icon {
  readonly name = input.required<IconName>();
  protected readonly path = computed(() => PATHS[this.name()]);
}
