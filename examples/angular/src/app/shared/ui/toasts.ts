// The toasts, where a screen reader hears of them too.

import { ChangeDetectionStrategy, Component, inject } from '@angular/core';

import { SessionService } from '../services/session.service';
import { type Toast, type ToastAction, ToastService } from '../services/toast.service';
import { Avatar } from './avatar';
import { Icon } from './icon';

@Component({
  selector: 'app-toasts',
  imports: [Avatar, Icon],
  template: `
    <div role="status"><ul>
      @for (toast of service.toasts(); track toast.id) {
        <li (pointerenter)="service.hold(toast.id)" (pointerleave)="service.release(toast.id)"
          (focusin)="service.hold(toast.id)" (focusout)="service.release(toast.id)">
          <app-avatar class="small" [person]="toast.person" [name]="nameOf(toast.person)" />
          <div>
            <p class="title">{{ toast.title }}</p>
            <p class="text">{{ toast.text }}</p>
            <p>
              @for (action of toast.actions; track action.label) {
                <button type="button" class="link" (click)="run(toast, action)">{{ action.label }}</button>
              }
            </p>
          </div>
          <button type="button" class="quiet" aria-label="Close" (click)="service.dismiss(toast.id)"><app-icon name="close" /></button>
        </li>
      }
    </ul></div>
  `,
  styleUrl: './toasts.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Toasts {
  protected readonly service = inject(ToastService);
  readonly #session = inject(SessionService);

  protected nameOf(person: string): string {
    return this.#session.personOf(person).name;
  }

  protected run({ id }: Toast, action: ToastAction): void {
    this.service.dismiss(id);
    action.run();
  }
}
