// Signals that call something off.

import { RoomcastError } from './error.js';
import type { Signal } from './platform.js';

/** Calls `then` once, when the signal says so, or at once if it has; what it answers stops listening. */
export function onAbort(signal: Signal | undefined, then: (error: RoomcastError) => void): () => void {
  if (!signal) return () => {};
  const tell = () => {
    stop();
    then(new RoomcastError('aborted', 'the call was aborted', { cause: signal.reason }));
  };
  const stop = () => signal.removeEventListener('abort', tell);
  if (signal.aborted) tell();
  else signal.addEventListener('abort', tell);
  return stop;
}
