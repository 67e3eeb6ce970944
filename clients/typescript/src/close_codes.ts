// When to come back after a connection ended: the table of docs/PROTOCOL.md, and the pauses between attempts.
//
// Pure. Always holds: a pause has a jitter; a pause that the server named is never cut short.

/** `soon`, `later`, with a new `token`, or `never`. */
export type Advice = 'soon' | 'later' | 'token' | 'never';

/** The code of a connection that was lost on the way. */
export const LOST = 1006;
export const RESTART = 1012;
export const OVERLOADED = 1013;
export const UNAUTHORIZED = 4001;
export const DENIED = 4003;

const NEVER = /^(100[023789]|40(03|11|29))$/;
const SHORTEST = 250;
const LONGEST = 30_000;
const LATER = 2_000;
const LATER_SPREAD = 4_000;

/** How a connection that ended with this code comes back. A code that is not known was lost on the way. */
export function advice(code: number): Advice {
  if (NEVER.test(`${code}`)) return 'never';
  if (code === UNAUTHORIZED || code === 4002) return 'token';
  return code === RESTART || code === OVERLOADED ? 'later' : 'soon';
}

/**
 * Milliseconds to wait before attempt number `attempt`, from 0: full jitter below a bound that doubles. `hint` is what the server
 * named, in milliseconds from now; the pause is longer by a jitter.
 */
export function pause(code: number, attempt: number, random: () => number, hint?: number): number {
  if (hint !== undefined) return Math.max(hint, 0) + random() * SHORTEST;
  const bound = Math.min(SHORTEST * 2 ** attempt, LONGEST);
  return advice(code) === 'later' ? LATER + random() * Math.max(bound, LATER_SPREAD) : random() * bound;
}
