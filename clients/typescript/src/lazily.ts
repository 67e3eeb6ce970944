// A transport whose code is loaded when it is tried.
//
// Always holds: code that cannot be loaded is an attempt that failed, and is asked for again with the next one.

import { LOST } from './close_codes.js';
import type { Link, Transport } from './link.js';

export function lazily(
  transport: Omit<Transport, 'dial' | 'sends'>,
  load: () => Promise<Pick<Transport, 'dial'>>,
): Transport {
  return {
    ...transport,
    sends: true,
    dial(to, on) {
      let link: Link | undefined;
      let over = false;
      load()
        .then(({ dial }) => {
          if (!over) link = dial(to, on);
        })
        .catch((error) => on.close(LOST, `${error}`));
      return {
        send: (command) => link?.send(command),
        close() {
          over = true;
          link?.close();
        },
      };
    },
  };
}
