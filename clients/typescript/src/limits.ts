// How long a command may be. A server ends the connection of a client that sends a longer one, so that it is not sent.

import type { AnyRooms, Client, Command, Limits } from './index.js';

/** What the number takes that a connection gives to each command: `,"id":1000000000`. */
const NUMBER = 16;

/** Whether the connection that there is takes no command of this length. Where it does not say what it takes, it takes all. */
export function isTooLong<Rooms extends object = AnyRooms>({ state }: Client<Rooms>, command: Command): boolean {
  const { max_message_bytes: most } = (state as { limits?: Limits }).limits ?? {};
  // A byte is a character, or three: %C3.
  return encodeURI(JSON.stringify(command)).replace(/%../g, '-').length > (most as number) - NUMBER;
}
