// How long the client waits for what, in milliseconds.
//
// A file of its own, because a bundler puts numbers of a file without imports where they are used.

/** For the answer to a ping: after a silence, and after a network has come back. */
export const PONG_WITHIN = 10_000;
export const PONG_AFTER_WAKE = 4_000;
/** After a network has come back, before a connection without a sign of life is doubted. */
export const DOUBTED_AFTER = 150;
/** A backend that wants every user's rights looked at again asks all at the same time. */
export const SPREAD = 1_000;

/** An attempt that no server has welcomed by then has failed. */
export const WELCOME_WITHIN = 10_000;
/** What an attempt is given before a network that is back begins it anew: one that began before, and one that began because of that. */
export const BEGUN_BEFORE = 150;
export const BEGUN_SINCE = 1_000;
/** An application's function that has got no token by then is given up, and called again with the next attempt. */
export const TOKEN_WITHIN = 30_000;
/** Before a token ends, a new one is fetched: a fifth of its life before, at most this long. */
export const BEFORE_END = 120_000;
export const SOONEST = 1_000;
/** A connection that lasted this long was a good one: the next failure is a first one. After a shorter one it counts as this many at most. */
export const GOOD_AFTER = 2_000;
export const SHORT_LIVED = 3;
/** Pauses between looks for a better transport grow from the one to the other. */
export const BETTER_FIRST = 5_000;
export const BETTER_LAST = 600_000;
