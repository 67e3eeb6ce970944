// The moments at which a page is likely to have a network again.

import { platform } from './platform.js';

/** Calls `then` when the network, or the tab, is back; what it answers stops that. Elsewhere than in a browser nothing happens. */
export function onWake(then: () => void): () => void {
  const over = new platform.AbortController();
  const look = () => {
    if (platform.document?.visibilityState !== 'hidden') then();
  };
  for (const event of ['online', 'pageshow', 'visibilitychange']) platform.addEventListener?.(event, look, over);
  return () => over.abort();
}
