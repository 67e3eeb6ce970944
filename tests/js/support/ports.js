// Ports for tests.

import { createServer } from 'node:net';

/** Ports that were free a moment ago, all different because they are held together. */
export async function freePorts(count, host = '127.0.0.1') {
  const held = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((listening, failed) => server.once('error', failed).listen(0, host, listening));
      return server;
    }),
  );
  const ports = held.map((server) => server.address().port);
  await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}
