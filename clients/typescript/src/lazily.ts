// A transport whose code is loaded when it is tried.
//
// Always holds: code that cannot be loaded is an attempt that failed, and is asked for again with the next one.

import { LOST } from './close_codes.js';
import type { Command } from './message.js';
import type { Dialing, Link, LinkEvents, Transport } from './link.js';

type Dial = (to: Dialing, on: LinkEvents) => Link;

export function lazily(name: string, isPossible: Transport['isPossible'], load: () => Promise<Dial>): Transport {
  return {
    name,
    isPossible,
    dial(to, on) {
      let link: Link | undefined;
      let over = false;
      load()
        .then((dial) => {
          if (!over) link = dial(to, on);
        })
        .catch((error) => on.close(LOST, String(error)));
      return {
        get sends() {
          return link?.sends ?? false;
        },
        send: (command: Command) => link?.send(command),
        close() {
          over = true;
          link?.close();
        },
      };
    },
  };
}
