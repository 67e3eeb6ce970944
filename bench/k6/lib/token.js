// A token of its own for each client, signed here as a backend would: HS256 with HMAC_SECRET.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';

import { settings } from './settings.js';

const part = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');

/** The token of a client: TOKEN for all, one that names the client as its user, or none. */
export function tokenOf(name) {
  if (!settings.secret) return settings.token;
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: `k6-${name}`, iat: now, exp: now + Math.ceil(settings.seconds) + 3600 };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${crypto.hmac('sha256', settings.secret, signed, 'base64rawurl')}`;
}
