// What the scenarios have in common: clients over VUs, publishers beside them, and how a run ends.

import exec from 'k6/execution';

import { Client } from './client.js';
import * as measures from './measures.js';
import { roomOf, settings } from './settings.js';

/** The options of a scenario: clients for the whole run; publishers once clients are in, until a moment before its end. */
export function options(more = {}) {
  const { seconds, ramp, settle, vus, rate, publishers } = settings;
  return {
    scenarios: {
      clients: {
        executor: 'per-vu-iterations',
        exec: 'clients',
        vus,
        iterations: 1,
        maxDuration: `${seconds + 30}s`,
        gracefulStop: '5s',
      },
      publishers: {
        executor: 'constant-arrival-rate',
        exec: 'publishers',
        startTime: `${ramp + 1}s`,
        duration: `${seconds - ramp - settle - 1}s`,
        rate,
        timeUnit: '1s',
        preAllocatedVUs: publishers,
        maxVUs: publishers,
        gracefulStop: '5s',
      },
    },
    thresholds: { ...measures.thresholds, ...more },
    insecureSkipTLSVerify: __ENV.INSECURE === '1',
    summaryTrendStats: ['min', 'med', 'avg', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
    // One connection pool for publishers, not one an iteration.
    noConnectionReuse: false,
    discardResponseBodies: false,
  };
}

/** This VU's clients, each opened at its moment of the ramp; `each` is called with every one of them once it is opened. */
export function openAll(each) {
  const { sockets, vus, ramp } = settings;
  const vu = exec.vu.idInTest - 1;
  const all = vus * sockets;
  for (let n = 0; n < sockets; n++) {
    // VUs of one scenario have consecutive numbers, but need not begin with the first.
    const index = (vu % vus) * sockets + n;
    setTimeout(() => each(new Client(`${vu + 1}-${n + 1}`, roomOf(index)).open()), (ramp * 1000 * index) / all);
  }
}

/** Calls it so many seconds after the beginning of the run, which all VUs share. */
export function at(seconds, what) {
  setTimeout(what, Math.max(0, exec.scenario.startTime + seconds * 1000 - Date.now()));
}

/** At the end of the run: has every client got everything? Then it leaves. */
export function untilTheEnd(client) {
  at(settings.seconds - settings.settle / 2, () => client.settle(() => client.leave()));
}
