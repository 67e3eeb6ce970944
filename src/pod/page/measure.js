// What is measured: events, bytes and round trips, second by second, for the last minute.
//
// Owns the numbers, draws nothing. Always holds: memory is bounded (a minute of buckets, a bounded sample of round trips
// in each), whatever the rate.

export const SECONDS = 60;
/** Round trips kept of one second; beyond it, by chance, so that the percentiles stay honest. */
const SAMPLE = 512;

class Bucket {
  events = 0;
  bytes = 0;
  trips = [];
  seen = 0;

  constructor(second) {
    this.second = second;
  }
}

export class Measure {
  #buckets = [];
  totals = { events: 0, batches: 0, bytes: 0, trips: 0 };

  constructor(now = () => performance.now()) {
    this.now = now;
    this.started = Math.floor(now() / 1000);
  }

  #bucket() {
    const second = Math.floor(this.now() / 1000);
    let last = this.#buckets.at(-1);
    if (last?.second !== second) {
      this.#buckets.push((last = new Bucket(second)));
      // One more than is shown: the running second is not complete.
      while (this.#buckets[0].second < second - SECONDS - 1) this.#buckets.shift();
    }
    return last;
  }

  events(count, bytes) {
    const bucket = this.#bucket();
    bucket.events += count;
    bucket.bytes += bytes;
    this.totals.events += count;
    this.totals.batches += 1;
    this.totals.bytes += bytes;
  }

  roundTrip(milliseconds) {
    const bucket = this.#bucket();
    bucket.seen += 1;
    this.totals.trips += 1;
    if (bucket.trips.length < SAMPLE) bucket.trips.push(milliseconds);
    else {
      const at = Math.floor(Math.random() * bucket.seen);
      if (at < SAMPLE) bucket.trips[at] = milliseconds;
    }
  }

  /** The complete seconds of the last minute, the oldest first: `{second, events, bytes, p50, p99}`. */
  series() {
    const running = Math.floor(this.now() / 1000);
    const known = new Map(this.#buckets.map((bucket) => [bucket.second, bucket]));
    return Array.from({ length: SECONDS + 1 }, (_, n) => {
      const second = running - SECONDS - 1 + n;
      const bucket = known.get(second);
      const [p50, p99] = percentiles(bucket?.trips ?? [], [0.5, 0.99]);
      // Before the page was there, nothing was measured, which is not the same as none.
      const events = bucket?.events ?? (second < this.started ? null : 0);
      return { second, events, bytes: bucket?.bytes ?? 0, p50, p99 };
    });
  }

  /** The last complete second's rate, and the percentiles and count of the whole minute. */
  summary() {
    const running = Math.floor(this.now() / 1000);
    const recent = this.#buckets.filter(({ second }) => second >= running - SECONDS);
    const [p50, p99] = percentiles(
      recent.flatMap(({ trips }) => trips),
      [0.5, 0.99],
    );
    const complete = this.#buckets.find(({ second }) => second === running - 1);
    const peak = Math.max(0, ...recent.map(({ events }) => events));
    const trips = recent.reduce((sum, { seen }) => sum + seen, 0);
    return { rate: complete?.events ?? 0, peak, p50, p99, trips };
  }
}

/** Nearest-rank percentiles; `null` where there is no value. */
export function percentiles(values, ranks) {
  const sorted = Float64Array.from(values).sort();
  return ranks.map((rank) => (sorted.length ? sorted[Math.max(0, Math.ceil(rank * sorted.length) - 1)] : null));
}
