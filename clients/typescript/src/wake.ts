// The moments at which a page is likely to have a network again.

import type { Platform } from './platform.js';

const EVENTS = ['online', 'pageshow', 'visibilitychange'];

/** Calls `then` when the network, or the tab, is back; what it answers stops that. Elsewhere than in a browser nothing happens. */
export function onWake(platform: Platform, then: () => void): () => void {
  const look = () => {
    if (platform.document?.visibilityState !== 'hidden') then();
  };
  for (const event of EVENTS) platform.addEventListener?.(event, look);
  return () => {
    for (const event of EVENTS) platform.removeEventListener?.(event, look);
  };
}
