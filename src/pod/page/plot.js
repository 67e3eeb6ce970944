// A plot of the last minutes on a canvas, moving from right to left.
//
// Owns pixels only; the numbers are its caller's. Always holds: sharp on any screen, in the colours of the scheme in
// use, and still (one step at a time) where reduced motion is preferred.

const LEFT = 52;
const BOTTOM = 22;
const TOP = 10;
const RIGHT = 2;

export class Plot {
  #size = { width: 0, height: 0, ratio: 1 };
  #top = null;
  #drawn = null;
  #colours = {};

  /**
   * `lines`: from behind to front, each `{value, colour, width, fill}`; `label` makes text of a value on the axis. `points` are
   * shown of each line, over `seconds`. `steps`: it never glides, because it is drawn only when there is something new.
   */
  constructor(canvas, { lines, label, least, points = 60, seconds = 60, steps = false }) {
    Object.assign(this, { canvas, lines, label, least, points, seconds });
    this.context = canvas.getContext('2d');
    const preference = matchMedia('(prefers-reduced-motion: reduce)');
    this.still = steps ? { matches: true } : preference;
    new ResizeObserver(() => this.#measure()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#dress());
    this.#measure();
    this.#dress();
  }

  #measure() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.#size = { width, height, ratio };
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    // A canvas that changes its size is blank until somebody draws.
    if (this.#drawn) this.draw(...this.#drawn);
  }

  #dress() {
    const style = getComputedStyle(this.canvas);
    const of = (name) => style.getPropertyValue(name).trim();
    this.#colours = { grid: of('--line'), text: of('--quiet'), font: `11px ${style.fontFamily}` };
    for (const { colour } of this.lines) this.#colours[colour] = of(colour);
  }

  /** `series`: the oldest first, one more than `points`, or `points` where it steps; `fraction` of the running step that has passed. */
  draw(series, fraction = 0) {
    const { context: c } = this;
    this.#drawn = [series, fraction];
    if (this.#size.ratio !== devicePixelRatio) this.#measure();
    const { width, height, ratio } = this.#size;
    if (width === 0) return;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    const highest = Math.max(this.least, ...series.flatMap((at) => this.lines.map(({ value }) => value(at) ?? 0)));
    const wanted = ceiling(highest * 1.05);
    this.#top ??= wanted;
    this.#top = this.still.matches ? wanted : this.#top + (wanted - this.#top) * 0.15;
    if (Math.abs(wanted - this.#top) < wanted / 500) this.#top = wanted;

    const plotHeight = height - TOP - BOTTOM;
    const step = (width - LEFT - RIGHT) / (this.points - 1);
    const shift = this.still.matches ? 0 : fraction;
    // The newest complete second moves in from beyond the right edge.
    const x = (n) => LEFT + (n - shift) * step;
    const y = (value) => TOP + plotHeight * (1 - value / this.#top);
    this.#grid(width, height, y, wanted);
    c.save();
    c.beginPath();
    c.rect(LEFT, 0, width - LEFT, height);
    c.clip();
    for (const line of this.lines) this.#line(line, series, x, y);
    c.restore();
  }

  #grid(width, height, y, wanted) {
    const { context: c } = this;
    const colours = this.#colours;
    c.strokeStyle = colours.grid;
    c.fillStyle = colours.text;
    c.font = colours.font;
    c.lineWidth = 1;
    c.textBaseline = 'middle';
    c.textAlign = 'right';
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(wanted * part)) + 0.5;
      if (at < 0) continue;
      c.beginPath();
      c.moveTo(LEFT, at);
      c.lineTo(width, at);
      c.stroke();
      c.fillText(this.label(wanted * part), LEFT - 8, at);
    }
    c.textBaseline = 'alphabetic';
    const { seconds } = this;
    const room = width - LEFT - RIGHT;
    // As many as have room.
    const parts = seconds > 60 ? (room / (seconds / 60) > 80 ? seconds / 60 : 1) : width < 380 ? 2 : 4;
    for (let part = 0; part <= parts; part++) {
      const ago = seconds - (seconds * part) / parts;
      c.textAlign = { 0: 'left', [parts]: 'right' }[part] ?? 'center';
      const at = LEFT + (room * part) / parts;
      const text = seconds > 60 ? `${ago / 60} min ago` : `${ago} s ago`;
      c.fillText(ago ? text : 'now', at, height - 4);
    }
  }

  #line({ value, colour, width, fill }, series, x, y) {
    const { context: c } = this;
    c.strokeStyle = c.fillStyle = this.#colours[colour];
    c.lineWidth = width;
    c.lineJoin = c.lineCap = 'round';
    for (const run of runs(series.map(value))) {
      const [from, to] = [run[0].n, run.at(-1).n];
      if (from === to) {
        c.beginPath();
        c.arc(x(from), y(run[0].value), width, 0, 7);
        c.fill();
        continue;
      }
      const path = new Path2D();
      path.moveTo(x(from), y(run[0].value));
      for (let i = 1; i < run.length; i++) {
        const [a, b] = [run[i - 1], run[i]];
        const middle = (x(a.n) + x(b.n)) / 2;
        // Level at both ends: the curve never shows more than was measured.
        path.bezierCurveTo(middle, y(a.value), middle, y(b.value), x(b.n), y(b.value));
      }
      if (fill) {
        const area = new Path2D(path);
        area.lineTo(x(to), y(0));
        area.lineTo(x(from), y(0));
        c.globalAlpha = fill;
        c.fill(area);
        c.globalAlpha = 1;
      }
      c.stroke(path);
    }
  }
}

/** Stretches without `null`. */
function runs(values) {
  const all = [];
  let run = null;
  values.forEach((value, n) => {
    if (value === null) run = null;
    else if (run) run.push({ n, value });
    else all.push((run = [{ n, value }]));
  });
  return all;
}

/** The next of 1, 2, 4, 5, 10 … that is not smaller. */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999999);
}
