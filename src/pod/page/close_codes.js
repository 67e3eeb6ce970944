// When to come back after a connection ended: the table of docs/PROTOCOL.md, and the pauses between attempts.

/** How a connection that ended with each code comes back. A code that is not listed was lost on the way: soon. */
const ADVICE = {
  1000: 'never',
  1002: 'never',
  1003: 'never',
  1007: 'never',
  1009: 'never',
  1012: 'later',
  1013: 'later',
  4001: 'token',
  4002: 'token',
  4003: 'never',
  4011: 'never',
  4029: 'never',
};

const WORDS = {
  1000: 'closed',
  1002: 'protocol error',
  1003: 'binary messages are not supported here',
  1005: 'closed without a reason',
  1006: 'the connection was lost',
  1007: 'invalid data',
  1008: 'refused',
  1009: 'a message was too big',
  1011: 'internal error of the pod',
  1012: 'the pod restarts',
  1013: 'the pod is overloaded',
  4001: 'unauthorized',
  4002: 'the token expired',
  4003: 'disconnected by the backend',
  4008: 'reading too slowly',
  4009: 'no answer to a ping',
  4010: 'events are missing',
  4011: 'too many connections of this user',
  4029: 'too many commands',
};

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

/** `soon`, `later`, `token` or `never`. */
export function advice(code) {
  return ADVICE[code] ?? 'soon';
}

/** Why, for a person. */
export function reasonOf(code, reason) {
  return WORDS[code] ?? (reason || `closed with ${code}`);
}

/**
 * Milliseconds to wait before attempt number `attempt` (from 0). A fleet that lost its pod comes back at once otherwise,
 * so every pause has a jitter. `after` is what `reconnect` named, counted from now.
 */
export function pause(code, attempt, after, random = Math.random) {
  const growing = Math.min(FIRST_PAUSE * 2 ** Math.max(attempt - 1, 0), LONGEST_PAUSE);
  if (attempt > 0) return growing * (0.5 + random() / 2);
  if (advice(code) === 'soon') return random() * 250;
  return after === undefined ? 2_000 + random() * 4_000 : Math.max(after, 0) + random() * 250;
}
