// What is on the page: the question who one is, or the application of that person.

import { ChangeDetectionStrategy, Component, inject } from '@angular/core';

import { SessionService } from './shared/services/session.service';
import { Shell } from './shell/shell';
import { SignIn } from './sign-in/sign-in';

@Component({
  selector: 'app-root',
  imports: [Shell, SignIn],
  template: `
    @switch (session.state()) {
      @case ('open') {
        <app-shell />
      }
      @case ('none') {
        <app-sign-in />
      }
    }
  `,
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class App {
  protected readonly session = inject(SessionService);
}
