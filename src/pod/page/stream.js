// The list of what arrives, batch by batch, the newest on top, and one event of it in full.
//
// Always holds: at most `ROWS` rows exist and at most `AT_ONCE` are added in one frame, whatever the rate; what was not
// drawn is counted and said. Drawing waits for the browser's next frame, and while pausing nothing is drawn.

import { $, bytes, copy, count, el, plural, say, span, timeOf } from './element.js';
import { coloured } from './json.js';

const ROWS = 240;
const AT_ONCE = 40;
/** Milliseconds between two drawings when there is much to draw: nobody reads faster. */
const BUSY = 120;
const PREVIEW = 160;
const TWO_CLOCKS = 'From the pod’s clock to this one’s: true only as far as they agree';

export class Stream {
  #queue = [];
  #queued = 0;
  #undrawn = 0;
  #scheduled = false;
  #drawn = 0;
  #rows = 0;
  #paused = false;
  #selected = null;
  #ids = 0;
  /** What each option of the list shows. */
  #entries = new WeakMap();
  /** Own events, `room offset` → their round trip or their row, until both are known; bounded. */
  #trips = new Map();

  constructor(tone) {
    this.tone = tone;
    this.list = $('events');
    $('pause').addEventListener('click', () => this.pause(!this.#paused));
    $('clear').addEventListener('click', () => this.clear());
    $('detail-close').addEventListener('click', () => this.#close());
    $('detail-copy').addEventListener('click', () => copy($('detail-copy'), $('detail-json')));
    this.list.addEventListener('click', ({ target }) => {
      const option = target.closest('[role=option]');
      if (option) this.#select(option);
    });
    this.list.addEventListener('keydown', (event) => this.#key(event));
    $('detail').addEventListener('keydown', ({ key }) => key === 'Escape' && this.#close());
  }

  /** A batch of events that arrived at `at`. */
  events(room, message, size, at) {
    const wall = Date.now() - (performance.now() - at);
    this.#push({ kind: 'batch', room: room.name, message, size, wall }, message.events.length);
  }

  /** A row that is no event: joined, recovered, gap, an error. `kind`: info, good, warning, error. */
  note(kind, text, room) {
    this.#push({ kind: 'note', tone: kind, text, room, wall: Date.now() }, 1);
  }

  roundTrip(room, offset, ms) {
    const key = `${room} ${offset}`;
    const row = this.#trips.get(key);
    if (row instanceof Element) this.#mark(row, ms);
    this.#trips.set(key, ms);
    if (this.#trips.size > 2 * ROWS) this.#trips.delete(this.#trips.keys().next().value);
  }

  pause(paused) {
    this.#paused = paused;
    $('pause').setAttribute('aria-pressed', String(paused));
    say($('pause'), paused ? 'Resume' : 'Pause');
    if (!paused) this.#schedule();
    this.#status();
  }

  clear() {
    this.#close();
    this.#queue = [];
    this.#queued = this.#undrawn = this.#rows = 0;
    this.list.replaceChildren();
    this.#status();
  }

  #push(entry, rows) {
    this.#queue.push(entry);
    this.#queued += rows;
    // A full queue forgets its oldest: it would leave the list at once anyway.
    while (this.#queued > ROWS && this.#queue.length > 1) {
      const dropped = this.#queue.shift();
      const lost = dropped.message?.events.length ?? 1;
      this.#queued -= lost;
      this.#undrawn += lost;
    }
    if (this.#paused) this.#status();
    else this.#schedule();
  }

  #schedule() {
    if (this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    const wait = this.#drawn + BUSY - performance.now();
    if (this.#queued > 4 && wait > 0) setTimeout(() => requestAnimationFrame(() => this.#draw()), wait);
    else requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#scheduled = false;
    if (this.#paused) return;
    this.#drawn = performance.now();
    const fresh = [];
    let room = AT_ONCE;
    while (this.#queue.length > 0) {
      const entry = this.#queue.pop();
      const rows = entry.message?.events.length ?? 1;
      if (room <= 0) this.#undrawn += rows;
      else fresh.push(entry.kind === 'note' ? this.#note(entry) : this.#batch(entry, room));
      room -= rows;
    }
    this.#queued = 0;
    if (this.#undrawn > 0) {
      fresh.push(line('note skipped', `${plural(this.#undrawn, 'event')} not drawn`));
      this.#undrawn = 0;
    }
    const reading = this.list.scrollTop > 8;
    const height = this.list.scrollHeight;
    this.list.prepend(...fresh);
    for (const group of fresh) this.#rows += rowsOf(group);
    while (this.#rows > ROWS && this.list.lastElementChild) {
      this.#rows -= rowsOf(this.list.lastElementChild);
      this.list.lastElementChild.remove();
    }
    // Who has scrolled down reads: what is read must not move.
    if (reading) this.list.scrollTop += this.list.scrollHeight - height;
    this.#status();
  }

  #status() {
    $('no-events').hidden = this.list.querySelector('.batch') !== null;
    const waiting = this.#queued + this.#undrawn;
    say($('stream-says'), this.#paused ? `paused, ${plural(waiting, 'event')} waiting` : '');
  }

  #note({ tone, text, room, wall }) {
    const note = line(`note ${tone}`, text, timeOf(wall));
    if (room) note.dataset.tone = this.tone(room);
    return note;
  }

  /** One group: a head that says what the message covers, and up to `most` of its events, the newest on top. */
  #batch({ room, message, size, wall }, most) {
    const { events, retained, after, offset } = message;
    // What is in no log has no number.
    const covered =
      offset === undefined ? '·' : after + 1 === offset ? count(offset) : `${count(after + 1)}–${count(offset)}`;
    const range = retained ? 'retained' : covered;
    const group = el('li', {
      class: retained ? 'batch retained' : 'batch',
      role: 'group',
      'data-tone': this.tone(room),
      'aria-label': `${room}, ${retained ? 'retained values' : `events ${range}`}`,
    });
    group.append(
      el(
        'div',
        { class: 'batch-head', role: 'presentation' },
        el('span', { class: 'chip' }, room),
        el('span', { class: 'range' }, range),
        el('span', {}, plural(events.length, 'event')),
        !retained && events.length < offset - after && el('span', { class: 'badge' }, 'conflated'),
        retained && el('span', { class: 'badge' }, 'kept by the room'),
        el('span', { class: 'size' }, bytes(size)),
        el('time', {}, timeOf(wall)),
      ),
    );
    const shown = events.slice(-most).reverse();
    for (const event of shown) group.append(this.#option(room, event, message, wall));
    const rest = events.length - shown.length;
    if (rest > 0)
      group.append(el('div', { class: 'skipped', role: 'presentation' }, `${plural(rest, 'more event')} not drawn`));
    return group;
  }

  #option(room, event, message, wall) {
    const age = wall - event.time;
    const trip = el('span', { class: 'trip', title: TWO_CLOCKS }, `≈ ${span(Math.max(0, age))}`);
    const { data, data64 } = event;
    const text = data64 === undefined ? JSON.stringify(data) : `${count(Math.floor((data64.length * 3) / 4))} bytes`;
    const option = el(
      'div',
      { class: 'event', role: 'option', id: `event-${++this.#ids}`, 'aria-selected': 'false' },
      el('span', { class: 'offset' }, event.offset === undefined ? '·' : count(event.offset)),
      el('span', { class: 'topic' }, event.topic),
      el('span', { class: 'key' }, event.key ?? ''),
      el('span', { class: 'preview' }, text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text),
      trip,
    );
    const entry = { room, event, epoch: message.epoch, age, trip: null };
    this.#entries.set(option, entry);
    const key = `${room} ${event.offset}`;
    const known = this.#trips.get(key);
    if (typeof known === 'number') this.#mark(option, known);
    else if (!message.retained) this.#trips.set(key, option);
    return option;
  }

  /** Says of an event that it is this page's own, and how long it took. */
  #mark(option, ms) {
    this.#entries.get(option).trip = ms;
    const trip = option.querySelector('.trip');
    trip.classList.add('own');
    trip.textContent = span(ms);
    trip.title = 'From publish to event, by this page’s clock';
  }

  #key(event) {
    const options = [...this.list.querySelectorAll('[role=option]')];
    const at = options.indexOf(this.#selected);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? 0 : at - 1,
      Home: 0,
      End: options.length - 1,
      PageDown: at + 10,
      PageUp: at - 10,
    }[event.key];
    if (to !== undefined && options.length > 0) {
      event.preventDefault();
      this.#select(options[Math.min(Math.max(to, 0), options.length - 1)]);
    } else if (event.key === ' ') {
      event.preventDefault();
      this.pause(!this.#paused);
    } else if (event.key === 'Escape') {
      this.#close();
    }
  }

  #select(option) {
    this.#selected?.setAttribute('aria-selected', 'false');
    this.#selected = option;
    option.setAttribute('aria-selected', 'true');
    this.list.setAttribute('aria-activedescendant', option.id);
    option.scrollIntoView({ block: 'nearest' });
    const { room, event, epoch, age, trip } = this.#entries.get(option);
    say($('detail-title'), `${event.topic} in ${room}`);
    const facts = [
      ['offset', event.offset === undefined ? 'none' : count(event.offset)],
      epoch !== undefined && ['epoch', epoch],
      event.key !== undefined && ['key', event.key],
      event.user !== undefined && ['user', event.user],
      event.id !== undefined && ['id', event.id],
      ['taken in', timeOf(event.time)],
      trip === null && ['on the way', `about ${span(Math.max(0, age))}, by two clocks`],
      trip !== null && ['round trip', `${span(trip)}, by this page’s clock`],
    ];
    $('detail-facts').replaceChildren(
      ...facts.filter(Boolean).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))),
    );
    $('detail-json').replaceChildren(...(event.data64 === undefined ? coloured(event.data) : [event.data64]));
    $('detail').hidden = false;
  }

  #close() {
    this.#selected?.setAttribute('aria-selected', 'false');
    this.#selected = null;
    this.list.removeAttribute('aria-activedescendant');
    const inside = $('detail').contains(document.activeElement);
    $('detail').hidden = true;
    if (inside) this.list.focus();
  }
}

function line(className, text, time) {
  return el('li', { class: className, role: 'presentation' }, el('span', {}, text), time && el('time', {}, time));
}

const rowsOf = (group) => Math.max(1, group.querySelectorAll('[role=option]').length);
