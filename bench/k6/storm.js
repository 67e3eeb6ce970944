// Every client loses its connection at the same moment, in the middle of the run, and comes back with its position.
//
//   k6 run -e API_KEY=… -e VUS=100 -e SOCKETS=50 storm.js

import { publish } from './lib/publisher.js';
import { summary } from './lib/report.js';
import { at, openAll, options as of, untilTheEnd } from './lib/run.js';
import { settings } from './lib/settings.js';

export const options = of({
  roomcast_returns: [`count>=${settings.vus * settings.sockets}`],
  roomcast_away: [`p(95)<${settings.reconnectP95}`],
  // Trips has no positions: a client that comes back begins anew.
  ...(settings.dialect === 'trips' ? {} : { roomcast_recovered: ['rate==1'] }),
});

export const clients = () =>
  openAll((client) => {
    at((settings.ramp + settings.seconds) / 2, () => client.drop());
    untilTheEnd(client);
  });
export const publishers = publish;
export const handleSummary = summary('storm');
