// A steady audience, and events at a steady rate: from publish to receive.
//
//   k6 run -e API_KEY=… -e VUS=50 -e SOCKETS=100 -e RATE=5 broadcast.js

import { publish } from './lib/publisher.js';
import { summary } from './lib/report.js';
import { openAll, options as of, untilTheEnd } from './lib/run.js';

export const options = of();

export const clients = () => openAll(untilTheEnd);
export const publishers = publish;
export const handleSummary = summary('broadcast');
