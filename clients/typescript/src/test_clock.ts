// Time for tests: it passes when a test says so.
//
// Always holds: timers go off in the order of their times, and what one leads to is done before the next one.

import type { Clock } from './index.js';

/** Time that passes when a test says so. */
export class TestClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly then: () => void }>();
  /** What `random` answers. */
  chance = 0.5;

  readonly now = (): number => this.#now;
  readonly date = (): number => 1_795_132_800_000 + this.#now;
  readonly random = (): number => this.chance;

  readonly after = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.#now + Math.max(ms, 0), then };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  /** Lets so much time pass, a timer after the other; what they lead to is done before the next one. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((one, other) => one.at - other.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.then();
      await settled();
    }
    this.#now = until;
  }
}

/** Resolves when everything that follows from what was done is done, as long as it needs no time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
