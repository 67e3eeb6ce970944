// Signals that call something off.
//
// Always holds: a signal that lives long keeps nothing of a call that is over.

import { RoomcastError } from './error.js';
import type { Signal } from './platform.js';

/** Calls `then` once, when the signal says so, or at once if it has; what it answers stops listening. */
export function onAbort(signal: Signal | undefined, then: (error: RoomcastError) => void): () => void {
  const tell = () => {
    stop();
    then(new RoomcastError('aborted', 'aborted', { cause: signal?.reason }));
  };
  const stop = () => signal?.removeEventListener('abort', tell);
  signal?.addEventListener('abort', tell);
  if (signal?.aborted) tell();
  return stop;
}

/** A promise that a signal may call off. `begin` answers what is done when it is settled, or was called off. */
export function abortable<Value>(
  begin: (resolve: (value: Value) => void, reject: (error: unknown) => void) => () => void,
  signal?: Signal,
): Promise<Value> {
  let over = () => {};
  const promise = new Promise<Value>((resolve, reject) => {
    const end = begin(resolve, reject);
    const stop = onAbort(signal, reject);
    over = () => (end(), stop());
  });
  promise.then(over, over);
  return promise;
}
