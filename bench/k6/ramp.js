// More and more connections, while events go on: how long connecting and joining take, and what that does to deliveries.
//
//   k6 run -e API_KEY=… -e VUS=100 -e SOCKETS=50 -e RAMP=120 -e SECONDS=180 ramp.js

import { publish } from './lib/publisher.js';
import { summary } from './lib/report.js';
import { openAll, options as of, untilTheEnd } from './lib/run.js';
import { settings } from './lib/settings.js';

const made = of();
// Unlike elsewhere, events are published from the first connection on.
made.scenarios.publishers.startTime = '1s';
made.scenarios.publishers.duration = `${settings.seconds - settings.settle - 1}s`;
export const options = made;

export const clients = () => openAll(untilTheEnd);
export const publishers = publish;
export const handleSummary = summary('ramp');
