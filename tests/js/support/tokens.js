// Tokens signed with a secret (RFC 7515, HS256), as a deployment's backend makes them.

import { createHmac } from 'node:crypto';

export const SECRET = 'a-secret-of-at-least-32-bytes-for-tests';

/** `seconds`: how long it is good; `claims` are added. */
export function token(user, { seconds = 3_600, ...claims } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  // Two that are made in the same second differ too.
  const text = `${part({ alg: 'HS256' })}.${part({ sub: user, exp, jti: Math.random(), ...claims })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}
