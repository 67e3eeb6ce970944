// Starts the chat: a pod with the embedded broker, and what an application's backend would be: the page and a token for each person.
//
//   node examples/chat/start.mjs
//
// An example: anyone may take any name. An application asks for a password before it signs a token.

import { createHmac, randomBytes } from 'node:crypto';

import { podUrl, start } from '../support/example.mjs';

/** The rooms of this chat. What they are is the backend's matter, and not the pod's. */
const ROOMS = [
  { id: 'lobby', title: 'Lobby', about: 'Everyone, about everything' },
  { id: 'design', title: 'Design', about: 'Drafts, type and colour' },
  { id: 'kitchen', title: 'Kitchen', about: 'What is for lunch' },
];
const A_NAME = /^[\p{L}\p{N}][\p{L}\p{N}_.-]{0,29}$/u;
/** A token is good for five minutes; the client gets a newer one by itself. */
const TOKEN_SECONDS = 300;
const secret = randomBytes(32).toString('hex');

function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1_000) + TOKEN_SECONDS;
  const signed = `${part({ alg: 'HS256' })}.${part({ sub: user, exp })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

function session(parameters) {
  const name = parameters.get('name') ?? '';
  if (!A_NAME.test(name)) return [400, { error: 'A name has 1 to 30 letters, digits, dots or dashes.' }];
  return [200, { name, token: token(name), pod: podUrl, rooms: ROOMS }];
}

await start({
  folder: new URL('./', import.meta.url),
  entry: 'src/main.ts',
  env: { CHAT_SECRET: secret },
  answers: { '/session': session },
  says: 'The chat, to be opened in two windows under two names',
});
