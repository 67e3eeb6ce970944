// Calls of the application's own server, over the connection that the client has.
//
// Always holds: a call without a key is sent once, so that it may come to nothing, and never happens twice; one with a key is sent again
// where its answer is lost, because the server knows it by its key.

import { commands, type RequestOptions } from './commands.js';
import type { AnyRooms, Client } from './index.js';
import { bytesOf, payload } from './message.js';

/** How a call is made. */
export interface CallOptions extends RequestOptions {
  /**
   * What the server knows the call by when it is sent again. With it a call waits for a connection and outlives the loss of one; without
   * it the call fails with `lost` then, and may have been carried out.
   */
  readonly idempotencyKey?: string | undefined;
}

/**
 * Asks the application's server for something, where the pod has `hooks.rpc`. Resolves with what it answers; rejects with its refusal, with
 * `deadline` or `failed` where that is not known, or with `unavailable` where it was not asked.
 */
export async function rpc<Result = unknown, Rooms extends object = AnyRooms>(
  client: Client<Rooms>,
  method: string,
  data?: unknown,
  { idempotencyKey, ...more }: CallOptions = {},
): Promise<Result> {
  const said = data === undefined ? {} : payload(data);
  const command = { type: 'rpc', method, idempotency_key: idempotencyKey, ...said };
  const answer = await commands(client).request(command, idempotencyKey ? more : { ...more, offline: 'fail' });
  // What the application says of its server's answers is believed.
  return (answer.data64 === undefined ? answer.data : bytesOf(answer.data64)) as Result;
}
