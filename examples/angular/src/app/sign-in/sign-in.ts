// The question who one is. An example: anyone may be anyone.

import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { Title } from '@angular/platform-browser';

import { problemOf, SessionService } from '../shared/services/session.service';
import { Avatar } from '../shared/ui/avatar';

@Component({
  selector: 'app-sign-in',
  imports: [Avatar],
  templateUrl: './sign-in.html',
  styleUrl: './sign-in.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class SignIn {
  readonly #session = inject(SessionService);
  protected readonly people = signal<Awaited<ReturnType<SessionService['people']>>>([]);
  protected readonly problem = signal('');

  constructor() {
    inject(Title).setTitle('Commons');
    void this.#trying(async () => this.people.set(await this.#session.people()));
  }

  protected enter(user: string): void {
    void this.#trying(() => this.#session.open(user));
  }

  async #trying(what: () => Promise<void>): Promise<void> {
    try {
      this.problem.set('');
      await what();
    } catch (error) {
      this.problem.set(problemOf(error));
    }
  }
}
