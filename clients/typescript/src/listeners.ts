// Those that want to be told of something.
//
// Always holds: one that throws harms neither the others nor the client; one that leaves while it is told harms none.

import { platform } from './platform.js';

export type Listener<Value> = (value: Value) => void;

/** Told of what a listener threw. */
export type Report = (error: unknown) => void;

/** As an error of the page that none has caught, for whatever watches over it; elsewhere on the console, so that no process ends. */
export const reportToPlatform: Report = (error) => {
  if (platform.reportError) platform.reportError(error);
  else platform.console?.error(error);
};

/** A report that never throws itself. */
export const safely =
  (report: Report): Report =>
  (error) => {
    try {
      report(error);
    } catch {
      // There is no one left to tell.
    }
  };

export class Listeners<Value> {
  readonly #all = new Set<{ listener: Listener<Value> }>();
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** What it answers takes the listener out again. The same function twice is told twice. */
  add(listener: Listener<Value>): () => void {
    const entry = { listener };
    this.#all.add(entry);
    return () => void this.#all.delete(entry);
  }

  tell(value: Value): void {
    for (const { listener } of [...this.#all]) {
      try {
        listener(value);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}
