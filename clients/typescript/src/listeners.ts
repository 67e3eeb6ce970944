// Those that want to be told of something.
//
// Always holds: one that throws harms neither the others nor the client; one that leaves while it is told harms none.

import { platform } from './platform.js';

export type Listener<Value> = (value: Value) => void;

/** Told of what a listener threw. */
export type Report = (error: unknown) => void;

/** As an error of the page that none has caught, for whatever watches over it; elsewhere on the console, so that no process ends. */
export const reportToPlatform: Report = (error) => {
  const { reportError, console } = platform;
  (reportError ?? console.error)(error);
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

/** Listeners to news of several kinds. */
export interface Listeners<News> {
  /** What it answers takes the listener out again. The same function twice is told twice. */
  add<Kind extends keyof News>(kind: Kind, listener: Listener<News[Kind]>): () => void;
  /** Whether there was a listener for it. */
  tell<Kind extends keyof News>(kind: Kind, value: News[Kind]): boolean;
}

export function listeners<News>(report: Report): Listeners<News> {
  const all = new Set<{ readonly kind: keyof News; readonly listener: (value: never) => void }>();
  return {
    add(kind, listener) {
      const entry = { kind, listener };
      all.add(entry);
      return () => all.delete(entry);
    },
    tell(wanted, value) {
      let isTold = false;
      for (const { kind, listener } of [...all]) {
        if (kind !== wanted) continue;
        isTold = true;
        try {
          listener(value as never);
        } catch (error) {
          report(error);
        }
      }
      return isTold;
    },
  };
}
