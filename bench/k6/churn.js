// Visitors come and go while events go on: each stays for a while, and another one follows that has seen nothing yet.
//
//   k6 run -e API_KEY=… -e VUS=50 -e SOCKETS=20 -e STAY=5 churn.js

import { Client } from './lib/client.js';
import { publish } from './lib/publisher.js';
import { summary } from './lib/report.js';
import { openAll, options as of, untilTheEnd } from './lib/run.js';
import { settings } from './lib/settings.js';

export const options = of();

/** The last visitor of a place stays to the end. */
function visit(client, until) {
  const stay = settings.stay * 1000 * (0.5 + Math.random());
  if (Date.now() + stay >= until) return untilTheEnd(client);
  setTimeout(() => {
    client.onend = () => visit(new Client(`${client.name}'`, client.room).open(), until);
    client.leave();
  }, stay);
}

export function clients() {
  const until = Date.now() + (settings.seconds - settings.settle * 2) * 1000;
  openAll((client) => visit(client, until));
}
export const publishers = publish;
export const handleSummary = summary('churn');
