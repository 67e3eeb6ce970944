// What became of a message: a clock while it waits, one tick when it is sent, two when it is delivered, coloured when it is read.

import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

import { Icon, type IconName } from '../../shared/ui/icon';
import type { MessageState } from './message';

const SHOWN: Record<MessageState, readonly [IconName, string]> = {
  waiting: ['clock', 'Waits to be sent'],
  failed: ['alert', 'Not sent'],
  sent: ['check', 'Sent'],
  delivered: ['checks', 'Delivered'],
  read: ['checks', 'Read'],
};

@Component({
  selector: 'app-ticks',
  imports: [Icon],
  template: `<app-icon [name]="shown()[0]" /><span class="unseen">{{ shown()[1] }}</span>`,
  styles: `
    :host {
      display: inline-flex;
      position: relative;
      font-size: 1.05rem;
    }
    :host(.read) {
      color: var(--read);
    }
    :host(.failed) {
      color: var(--alert);
    }
  `,
  host: { '[class]': 'state()', '[title]': 'shown()[1]' },
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class MessageTicks {
  readonly state = input.required<MessageState>();
  protected readonly shown = computed(() => SHOWN[this.state()]);
}
