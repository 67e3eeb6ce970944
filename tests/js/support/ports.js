// Ports for tests.

import { createServer } from 'node:net';

/** Outside of the range that the kernel gives to outgoing connections, so that none of those takes a port in between. */
const FIRST = 12_000;
const COUNT = 18_000;

// Processes of one machine begin at different places.
let next = (process.pid * 61) % COUNT;

/** Ports that nothing listens on, all different. No later call of this process gives out the same ones until it has gone around. */
export async function freePorts(count, host = '127.0.0.1') {
  const free = [];
  while (free.length < count) {
    next = (next + 1) % COUNT;
    // Another caller moves on while this one waits.
    const port = FIRST + next;
    if (await isFree(port, host)) free.push(port);
  }
  return free;
}

async function isFree(port, host) {
  const server = createServer();
  const listens = await new Promise((answer) => {
    server.once('error', () => answer(false)).listen(port, host, () => answer(true));
  });
  if (listens) await new Promise((closed) => server.close(closed));
  return listens;
}
