// Where tokens come from.
//
// Always holds: the application's function runs once at a time, unless it is given up; a token that was refused is not presented again.

import { abortable } from './abort.js';
import type { Clock } from './clock.js';
import { BEFORE_END, SOONEST, TOKEN_WITHIN } from './patience.js';

/** A token, or a function that gets a new one: from the application's backend, say. `undefined`, `null` and `''` are a client without one. */
export type TokenSource = string | (() => string | null | undefined | Promise<string | null | undefined>);

/** Milliseconds from now until a token that ends at `expiresAt` is replaced. One that has ended is good by the server's clock: this one is wrong. */
export function renewIn(expiresAt: number, now: number): number {
  const left = Math.abs(expiresAt - now);
  return Math.max(left - Math.min(left / 5, BEFORE_END), SOONEST);
}

export interface Credentials {
  /** The token that is presented. */
  token?: string | undefined;
  /** Gets a token; two that ask at the same time get the same one. */
  get(): Promise<string | undefined>;
  /** From now on tokens come from there. */
  replace(source: TokenSource | undefined): void;
  /** What the server did not take. `null`: nothing; `undefined` is a client without a token. */
  refused: string | undefined | null;
}

export function credentials(source: TokenSource | undefined, clock: Clock): Credentials {
  let asking: Promise<string | undefined> | undefined;
  return {
    refused: null,
    get() {
      if (asking) return asking;
      const mine = abortable<string | undefined>((resolve, reject) => {
        (async () => (await (typeof source === 'function' ? source() : source)) || undefined)().then(resolve, reject);
        const stop = clock.after(TOKEN_WITHIN, () => reject(new Error('too slow')));
        return () => {
          stop();
          if (asking === mine) asking = undefined;
        };
      });
      asking = mine;
      return mine;
    },
    replace(next) {
      source = next;
      asking = undefined;
      this.refused = null;
    },
  };
}
