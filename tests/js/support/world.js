// A pod in memory, clients of it, and a clock that the test moves.

import { load } from './typescript.js';

const { Client } = await load('index');
const { TestClock, TestPod } = await load('testing');

/** A pod that takes each token for its user and refuses the room `closed`; `connect(user)` makes a client, `reported` has what they report. */
export function world() {
  const clock = new TestClock();
  const pod = new TestPod({ clock, accepts: (user) => ({ user }), allows: (room) => room !== 'closed' });
  const reported = [];
  const connect = (user) =>
    new Client({
      url: 'https://pod',
      transports: [pod.transport],
      clock,
      storage: null,
      token: user,
      onError: (error) => reported.push(error),
    });
  return { clock, pod, reported, connect };
}
