// What the user may choose: how it is seen, and what may disturb it in this browser.

import { ChangeDetectionStrategy, Component, computed, inject, signal, type WritableSignal } from '@angular/core';

import type { Status } from '../../shared/rooms';
import { DesktopService } from '../../shared/services/desktop.service';
import { PresenceService } from '../../shared/services/presence.service';
import { SessionService } from '../../shared/services/session.service';
import { SettingsService } from '../../shared/services/settings.service';
import { SoundService } from '../../shared/services/sound.service';

const STATUSES: readonly { readonly status: Status; readonly name: string; readonly about: string }[] = [
  { status: 'online', name: 'Online', about: 'while one of your devices is' },
  { status: 'away', name: 'Away', about: 'until you say otherwise' },
  { status: 'busy', name: 'Busy', about: 'until you say otherwise' },
  { status: 'offline', name: 'Invisible', about: 'you see everything, and others see you offline' },
];

@Component({
  selector: 'app-settings',
  templateUrl: './settings.html',
  styleUrl: './settings.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class Settings {
  protected readonly settings = inject(SettingsService);
  protected readonly desktop = inject(DesktopService);
  protected readonly session = inject(SessionService);
  readonly #presence = inject(PresenceService);
  readonly #sound = inject(SoundService);
  protected readonly statuses = STATUSES;
  protected readonly status = computed(() => this.#presence.statusOf(this.session.opened.user.id));
  protected readonly problem = signal('');

  protected show(status: Status): void {
    this.problem.set('');
    this.#presence.show(status).catch(({ message }: Error) => this.problem.set(`Not changed: ${message}`));
  }

  protected set(setting: WritableSignal<boolean>, { target }: Event): void {
    setting.set((target as HTMLInputElement).checked);
    if (setting === this.settings.sound) this.#sound.play();
  }

  protected async setDesktop({ target }: Event): Promise<void> {
    const input = target as HTMLInputElement;
    if (input.checked) await this.desktop.turnOn();
    else this.settings.desktop.set(false);
    // The browser may have said no.
    input.checked = this.settings.desktop();
  }
}
