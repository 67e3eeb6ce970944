// `socket.io-client` as it is, but that its sockets end with the file. One that a failing test leaves behind comes back for ever, and
// would keep the file from ending.

import { after } from 'node:test';

import { io as connect } from 'socket.io-client';

const sockets = new Set();

/** `io` of `socket.io-client`. */
export function io(...options) {
  const socket = connect(...options);
  sockets.add(socket);
  return socket;
}

after(() => {
  for (const socket of sockets) {
    // `close` alone leaves a manager that waits to come back.
    socket.io.reconnection(false);
    socket.close();
  }
});
