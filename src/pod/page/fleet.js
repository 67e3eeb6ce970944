// What the generator publishes: buses that drive around a town, so that the data changes as real data does.

const STOPS = ['Harbour', 'Old Market', 'Central Station', 'Botanical Garden', 'University', 'Observatory'];
const BUSES = 24;

export class Fleet {
  #turn = 0;
  #buses = Array.from({ length: BUSES }, (_, n) => {
    return { id: `bus-${n + 1}`, angle: (n / BUSES) * 7, radius: 0.01 + (n % 5) * 0.004 };
  });

  #drive(bus) {
    bus.angle += 0.02 + Math.random() * 0.02;
    const round = (x, digits) => Number(x.toFixed(digits));
    return {
      id: bus.id,
      lat: round(60.17 + Math.sin(bus.angle) * bus.radius, 5),
      lon: round(24.94 + Math.cos(bus.angle) * bus.radius * 2, 5),
      speed: round(24 + Math.sin(bus.angle * 3) * 14, 1),
      next_stop: STOPS[Math.floor(bus.angle) % STOPS.length],
      delay_s: Math.floor(bus.angle * 7) % 90,
    };
  }

  /** The next event: `small` one bus, `medium` the buses of one line, `large` all of them. */
  next(size) {
    this.#turn += 1;
    const own = this.#buses[this.#turn % BUSES];
    if (size === 'small') {
      const { id, ...where } = this.#drive(own);
      return { topic: 'moved', key: id, data: JSON.stringify(where) };
    }
    const line = this.#turn % 4;
    const buses = size === 'large' ? this.#buses : this.#buses.filter((_, n) => n % 4 === line);
    const name = size === 'large' ? 'all' : `line-${line + 1}`;
    return {
      topic: 'fleet',
      key: name,
      data: JSON.stringify({ line: name, buses: buses.map((bus) => this.#drive(bus)) }),
    };
  }
}
