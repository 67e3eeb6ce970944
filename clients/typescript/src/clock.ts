// Time and chance, in one place, so that tests step both.

import { platform } from './platform.js';

/** Time and chance: the system's, or a test's. */
export interface Clock {
  /** Milliseconds that only grow, whatever happens to the computer's time of day. */
  now(): number;
  /** Milliseconds since 1970, UTC, as the computer has them. */
  date(): number;
  /** Calls `then` after so many milliseconds; what it answers calls that off. */
  after(ms: number, then: () => void): () => void;
  /** A number from 0 to less than 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => platform.performance?.now() ?? Date.now(),
  date: () => Date.now(),
  after(ms, then) {
    // Longer delays overflow in a browser, and would end at once.
    const timer = platform.setTimeout(then, Math.min(ms, 2e9));
    return () => platform.clearTimeout(timer);
  },
  random: () => Math.random(),
};
