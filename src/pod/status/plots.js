// The plots of the last minutes. The pod keeps the moments, so that a page that was just opened shows what has been.

import { bytes, count, span } from '../page/element.js';
import { Plot } from '../page/plot.js';

const tenth = (value) => (value < 10 && value % 1 ? value.toFixed(1) : count(Math.round(value)));
const milliseconds = (value) => (value === 0 ? '0' : span(value));

export class Plots {
  #moments = [];
  #plots = [];

  /** `points` moments over `seconds` are shown. */
  constructor($, { points, seconds }) {
    this.points = points;
    const plot = (id, lines, label, least) => new Plot($(id), { lines, label, least, points, seconds, steps: true });
    const line = (key, colour, fill, width = 2) => ({ value: (at) => at?.[key] ?? null, colour, width, fill });
    this.#plots = [
      plot('deliveries-plot', [line('deliveries', '--accent', 0.14)], tenth, 4),
      plot('latency-plot', [line('p99_ms', '--warm-soft', 0.1, 1.5), line('p50_ms', '--warm', 0.16)], milliseconds, 1),
      plot('connections-plot', [line('connections', '--tone-2', 0.14)], tenth, 4),
      plot('sent-plot', [line('sent_bytes', '--tone-4', 0.14)], bytes, 1_000),
    ];
  }

  /** The end of the newest moment that is known. */
  get newest() {
    return this.#moments.at(-1)?.at ?? 0;
  }

  /** Takes in what is new, and draws. A pod that began anew has no past that it knows of. */
  take(moments) {
    this.#moments.push(...moments.filter(({ at }) => at > this.newest));
    this.#moments.splice(0, this.#moments.length - this.points);
    const missing = Array(this.points - this.#moments.length).fill(null);
    const series = [...missing, ...this.#moments];
    for (const plot of this.#plots) plot.draw(series);
  }

  forget() {
    this.#moments = [];
  }
}
