// Two soft notes for something new, where the user wants a sound.

import { Injectable, inject } from '@angular/core';

import { SettingsService } from './settings.service';

/** Hertz, and seconds from the beginning. */
const NOTES = [
  [660, 0],
  [880, 0.12],
] as const;

@Injectable({ providedIn: 'root' })
export class SoundService {
  readonly #settings = inject(SettingsService);
  #context: AudioContext | undefined;

  play(): void {
    if (!this.#settings.sound()) return;
    const context = (this.#context ??= new AudioContext());
    // A browser lets a page be heard once something was pressed on it.
    void context.resume().catch(() => undefined);
    for (const [frequency, after] of NOTES) {
      const from = context.currentTime + after;
      const tone = new OscillatorNode(context, { frequency });
      const volume = new GainNode(context, { gain: 0 });
      volume.gain.setTargetAtTime(0.08, from, 0.01);
      volume.gain.setTargetAtTime(0, from + 0.08, 0.05);
      tone.connect(volume).connect(context.destination);
      tone.start(from);
      tone.stop(from + 0.5);
    }
  }
}
