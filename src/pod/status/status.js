// The page at /status: asks the pod for its figures and shows them.
//
// Asks every two seconds while it is seen and not paused, and for the fleet every fifth second. Always holds: one question of each kind is
// under way at a time; when the pod does not answer, the page says so and keeps the last figures, faded.

import { $, bytes, clockOf, count, say, span } from '../page/element.js';
import { Plots } from './plots.js';
import { Tables } from './tables.js';

const EVERY = 2_000;
const FLEET_EVERY = 5_000;
const PATIENCE = 5_000;
const POINTS = 150;

const WORDS = {
  ready: ['Ready', 'open'],
  degraded: ['Degraded', 'caution'],
  starting: ['Starting', 'caution'],
  draining: ['Draining', 'caution'],
  overloaded: ['Overloaded', 'bad'],
};
const REASONS = {
  draining: 'it goes away',
  connections: 'it has as many connections as it may',
  memory: 'its queues or its process hold as much as they may',
  files: 'its sockets have used up the files',
  redis: 'a part of Redis cannot be used',
  upstream: 'it has no link to its home',
};

const tables = new Tables($);
const plots = new Plots($, { points: POINTS, seconds: (POINTS * EVERY) / 1000 });

let paused = false;
let said = '';
let pod = null;
let uptime = 0;

const address = (query) => new URL(`../status.json${query}`, import.meta.url);

async function ask(query) {
  const answer = await fetch(address(query), { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`the pod answers ${answer.status}`);
  return answer.json();
}

/** Asks again and again, one question at a time, while the page is seen. */
function keep(question, every) {
  let asking = false;
  const turn = async () => {
    if (asking || paused || document.hidden) return;
    asking = true;
    try {
      await question();
    } finally {
      asking = false;
    }
  };
  setInterval(turn, every);
  document.addEventListener('visibilitychange', turn);
  turn();
  return turn;
}

const now = keep(async () => {
  let status;
  try {
    status = await ask(`?after=${plots.newest}`);
  } catch (error) {
    return lost(error);
  }
  if (status.pod !== pod || status.uptime_ms < uptime) {
    if (pod !== null) plots.forget();
    pod = status.pod;
    // What was asked for left out what another pod had told.
    if (status.moments.length === 0) status = await ask('').catch(() => status);
  }
  uptime = status.uptime_ms;
  show(status);
}, EVERY);

const fleet = keep(async () => {
  try {
    tables.fleet(await ask('?scope=fleet'), pod);
  } catch (error) {
    say($('silent'), `The fleet cannot be asked: ${error.message}`);
  }
}, FLEET_EVERY);

function lost(error) {
  document.body.dataset.state = 'gone';
  state('No answer', `${error.message}; the figures are the last ones`);
}

/** Screen readers hear of a change, not of every figure. */
function state(word, why) {
  say($('state'), word);
  say($('why'), why);
  document.title = `${word} · roomcast status`;
  const text = why ? `${word}: ${why}` : word;
  if (text !== said) say($('announcements'), text);
  said = text;
}

function show(status) {
  const [word, look] = WORDS[status.readiness] ?? [status.readiness, 'bad'];
  document.body.dataset.state = look;
  state(word, status.degraded.map((reason) => REASONS[reason] ?? reason).join('; '));
  plots.take(status.moments);
  const last = status.moments.at(-1);
  if (last) rates(last);
  facts(status);
  tables.show(status);
}

/** A rate of a few a second has a digit behind the point. */
const rate = (n) => (n > 0 && n < 10 ? n.toFixed(1) : count(Math.round(n)));

function rates(last) {
  say($('deliveries'), rate(last.deliveries));
  say($('events'), rate(last.events));
  say($('sent'), bytes(last.sent_bytes));
  say($('refused'), rate(last.refused));
  say($('cores'), `${last.cores.toFixed(2)} cores`);
}

function facts(status) {
  const { totals, latency, queues, memory, drain } = status;
  say($('connections'), count(status.connections));
  say($('plotted-connections'), count(status.connections));
  say($('connections-more'), `of ${count(status.max_connections)}`);
  say($('rooms'), count(status.rooms));
  say($('rooms-more'), 'with a member here');
  say($('cores-more'), `${status.workers.length} ${status.workers.length === 1 ? 'worker' : 'workers'}`);
  say($('memory'), bytes(memory.used_bytes));
  say($('memory-more'), `of ${bytes(memory.limit_bytes)}`);
  $('memory').title = memory.from;
  say($('uptime'), clockOf(status.uptime_ms));
  say($('uptime-more'), `since ${new Date(status.at - status.uptime_ms).toLocaleString('en-GB')}`);
  say($('p50'), span(latency.p50_ms));
  say($('p99'), span(latency.p99_ms));
  const saved = totals.plain_bytes > 0 ? Math.max(0, 1 - totals.sent_bytes / totals.plain_bytes) : 0;
  say($('saved'), `${Math.round(saved * 100)} %`);
  say($('held'), `${bytes(queues.held_bytes)} of ${bytes(queues.budget_bytes)}`);
  say($('owed'), bytes(queues.owed_bytes));
  for (const [id, value] of [
    ['dropped', totals.dropped_frames],
    ['slow-closed', totals.slow_disconnects],
    ['slow-sockets', totals.slow_sockets],
    ['holes', totals.stream_holes],
  ]) {
    say($(id), count(value));
    $(id).className = value > 0 ? 'caution' : '';
  }
  const seconds = (ms) => `${count(Math.round(ms / 1000))} s`;
  const going = drain.draining_ms !== null;
  say(
    $('drain'),
    going ? `for ${clockOf(drain.draining_ms)}, ${count(status.connections)} connections left` : 'not draining',
  );
  $('drain').className = going ? 'caution' : '';
  say(
    $('drain-plan'),
    `takes clients for ${seconds(drain.delay_ms)}, sends them away over ${seconds(drain.window_ms)}`,
  );
  certificate(status.certificate_expires_s);
  hooks(status.failing_hooks);
  say($('workers'), status.workers.map(count).join(' · '));
  say($('version'), `roomcast ${status.version}, pod ${status.pod}`);
}

function certificate(left) {
  const days = left === null ? null : Math.floor(left / 86_400);
  say(
    $('certificate'),
    days === null ? 'none: TLS ends elsewhere' : days < 0 ? 'expired: clients refuse it' : `${count(days)} days left`,
  );
  $('certificate').className = days === null || days > 14 ? '' : days > 3 ? 'caution' : 'bad';
}

function hooks(failing) {
  const fail = failing?.length > 0;
  const word = fail ? `the backend does not answer: ${failing.join(', ')}` : 'the backend answers';
  say($('hooks'), failing === null ? 'none is asked' : word);
  $('hooks').className = fail ? 'bad' : '';
}

function pause() {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', paused);
  $('pause').firstChild.data = paused ? 'Go on ' : 'Pause ';
  if (paused) return;
  now();
  fleet();
}

$('pause').addEventListener('click', pause);
addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() === 'p' && !event.ctrlKey && !event.metaKey && !event.altKey) pause();
});
