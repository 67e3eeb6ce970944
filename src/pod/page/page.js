// The page: puts the connection, what it measures and what it shows together.
//
// `roomcast` in the console gives the parts.

import { Client } from './client.js';
import { $, count, plural, say, span } from './element.js';
import { diagnosis, Header } from './header.js';
import { Measure, SECONDS } from './measure.js';
import { Plot } from './plot.js';
import { Publish } from './publish.js';
import { Rooms } from './rooms.js';
import { Stream } from './stream.js';

/** Milliseconds between two pictures of the plots: smooth enough for what moves a few pixels a second. */
const PICTURE = 33;

const measure = new Measure();
/** For screen readers: states, not events. */
const announce = (text) => say($('announcements'), text);

const client = new Client(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`, {
  state: changed,
  room(room, what) {
    rooms.show(room, what);
    remember();
    const { name, position, error } = room;
    const at = count(position?.offset ?? 0);
    if (what === 'joined') stream.note('info', `joined ${name} at offset ${at}`, name);
    if (what === 'recovered') stream.note('good', `${name} recovered: what was missed since ${at} follows`, name);
    if (what === 'reset') stream.note('warning', `${name} could not be recovered: it continues at ${at}`, name);
    if (error && what !== 'left') stream.note('error', `${name}: ${error.message} (${error.code})`, name);
    if (what === 'joined' || what === 'recovered' || what === 'left') announce(`${room.name}: ${what}`);
  },
  events(room, message, bytes, at) {
    if (!message.retained) measure.events(message.events.length, bytes);
    stream.events(room, message, bytes, at);
    touched.add(room);
  },
  gap(room, { epoch, after, offset }) {
    const lost = offset - after;
    const range =
      lost > 0 ? `${plural(lost, 'event')} will not come (${count(after + 1)}–${count(offset)})` : 'its log began anew';
    const text = epoch === undefined ? 'events without a position will not come' : range;
    stream.note('warning', `gap in ${room.name}: ${text}`, room.name);
    announce(`Gap in ${room.name}`);
    rooms.show(room);
  },
  note({ kind, text, about }) {
    if (about === 'token') header.tokenSays(text, true);
    stream.note(kind, text);
  },
  roundTrip(room, offset, ms) {
    measure.roundTrip(ms);
    stream.roundTrip(room.name, offset, ms);
  },
});

/** Rooms whose position moved since the last picture. */
const touched = new Set();
const header = new Header(client, announce);
const publish = new Publish(client, announce);
const rooms = new Rooms(client, (name) => publish.room(name));
const stream = new Stream((name) => rooms.tone(name));

const ratePlot = new Plot($('rate-plot'), {
  lines: [{ value: ({ events }) => events, colour: '--accent', width: 2, fill: 0.14 }],
  label: (value) => (value < 10 && value % 1 ? value.toFixed(1) : count(value)),
  least: 4,
  points: SECONDS,
});
const tripPlot = new Plot($('trip-plot'), {
  lines: [
    { value: ({ p99 }) => p99, colour: '--warm-soft', width: 1.5, fill: 0.1 },
    { value: ({ p50 }) => p50, colour: '--warm', width: 2, fill: 0.16 },
  ],
  label: (value) => (value === 0 ? '0' : `${value < 1 ? value.toFixed(1) : count(value)} ms`),
  least: 1,
  points: SECONDS,
});

let wasOpen = false;
let explained = false;

async function changed(state) {
  header.state(state);
  if (client.welcome) publish.limits(client.welcome.limits);
  if (state.kind === 'open' && !wasOpen) announce('Connected');
  if (state.kind !== 'open' && wasOpen) {
    const text = `disconnected: ${state.reason ?? 'connecting anew'}`;
    stream.note(state.code === 1000 ? 'info' : 'warning', text);
    announce(text);
    for (const room of client.rooms.values()) rooms.show(room);
  }
  wasOpen = state.kind === 'open';
  if (state.kind === 'waiting' && state.never && !explained) {
    explained = true;
    const text = await diagnosis(state.code);
    if (text) stream.note('error', text);
  }
}

let pictured = 0;
let figured = -1;

function picture(now) {
  requestAnimationFrame(picture);
  for (const room of touched) rooms.moved(room);
  touched.clear();
  const second = Math.floor(performance.now() / 1000);
  const fresh = second !== figured;
  if (now - pictured < PICTURE || (ratePlot.still.matches && !fresh)) return;
  pictured = now;
  const series = measure.series();
  const fraction = (performance.now() / 1000) % 1;
  ratePlot.draw(series, fraction);
  tripPlot.draw(series, fraction);
  if (!fresh) return;
  figured = second;
  const { rate, peak, p50, p99, trips } = measure.summary();
  say($('rate'), count(rate));
  say($('rate-peak'), count(peak));
  say($('rate-total'), count(measure.totals.events));
  for (const [id, value] of [
    ['p50', p50],
    ['p99', p99],
  ]) {
    say($(id), span(value));
    $(id).classList.toggle('none', value === null);
  }
  say($('trips'), trips ? `${plural(trips, 'own event')} in the last minute` : 'publish here to measure');
}

/** The rooms stand in the address, so that it can be kept and passed on. */
function remember() {
  const names = [...client.rooms.keys()].map(encodeURIComponent);
  history.replaceState(null, '', names.length ? `#${names.join(',')}` : location.pathname);
}

async function start() {
  const asked = location.hash.slice(1).split(',').filter(Boolean).map(decoded);
  for (const name of asked) rooms.join(name);
  client.connect();
  requestAnimationFrame(picture);
  const about = await fetch('/page/pod.json', { cache: 'no-store' }).then(
    (answer) => answer.json(),
    () => ({}),
  );
  publish.knows(about);
  const mode = about.development ? ', development mode' : '';
  say($('version'), about.version ? `roomcast ${about.version}${mode}` : 'roomcast');
  // In development mode everybody may publish to demo rooms, and the line that the pod prints publishes to this one.
  if (asked.length === 0 && about.development && client.rooms.size === 0) rooms.join('demo:1');
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

globalThis.roomcast = { client, measure, publish, rooms, stream };
start();
