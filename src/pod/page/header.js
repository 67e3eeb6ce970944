// The head of the page: how the connection is, what it is, and what compression saves on it.

import { advice } from './close_codes.js';
import { $, bytes, clockOf, plural, say } from './element.js';
import { isPossible } from './transport.js';

const POLL = 1_000;

export class Header {
  #stats = null;
  #polls = true;

  constructor(client, announce) {
    this.client = client;
    this.announce = announce;
    $('retry').addEventListener('click', () => client.connect());
    $('hang-up').addEventListener('click', () => client.disconnect());
    $('other-transport').addEventListener('click', () => client.over(this.#other()));
    $('token-form').addEventListener('submit', (event) => (event.preventDefault(), this.#present()));
    setInterval(() => this.#tick(), POLL);
    document.addEventListener('visibilitychange', () => document.hidden || this.#tick());
    addEventListener('keydown', ({ key }) => {
      if (key !== 'Escape' || !$('token').open) return;
      $('token').open = false;
      $('token').querySelector('summary').focus();
    });
  }

  /** The transport that is not in use. */
  #other() {
    return this.client.transport === 'webtransport' ? 'websocket' : 'webtransport';
  }

  async #present() {
    const token = $('token-value').value.trim();
    $('token-value').value = '';
    this.tokenSays(token ? 'Presenting it…' : 'Connecting without a token…');
    try {
      await this.client.present(token);
    } catch (error) {
      this.tokenSays(`Refused: ${error.message}`, true);
    }
  }

  tokenSays(text, wrong = false) {
    say($('token-says'), text);
    $('token-says').classList.toggle('wrong', wrong);
    $('token').classList.toggle('attention', wrong);
    if (wrong) $('token').open = true;
  }

  state(state) {
    const open = state.kind === 'open';
    document.body.dataset.state = state.kind;
    const text = {
      idle: 'Not connected',
      connecting: state.again ? 'Reconnecting…' : 'Connecting…',
      open: 'Connected',
      waiting: state.never ? 'No connection' : 'Connection lost',
      ended: 'Disconnected',
    }[state.kind];
    say($('state'), text);
    // 1005 and 1006 are what browsers say of a connection that ended without a word.
    const told = !open && state.reason && state.code !== 1005 && state.code !== 1006;
    say($('why'), told ? `${state.reason}${state.code > 1006 ? ` (${state.code})` : ''}` : '');
    $('retry').hidden = !(state.kind === 'waiting' || state.kind === 'ended');
    $('hang-up').hidden = !open;
    if (state.kind === 'ended' && state.token) this.tokenSays('The pod wants a new token.', true);
    const until = open && this.client.tokenUntil;
    if (until) this.tokenSays(`Accepted until ${new Date(until).toLocaleTimeString('en-GB')}.`);
    if (!open) this.#stats = null;
    else this.#polls = true;
    this.#facts();
    this.#countdown();
    if (open) this.#tick();
  }

  #countdown() {
    const { state } = this.client;
    const left = state.kind === 'waiting' ? Math.max(0, Math.ceil((state.at - performance.now()) / 1000)) : null;
    say($('countdown'), left === null ? '' : left === 0 ? 'trying again now' : `trying again in ${left} s`);
  }

  async #tick() {
    this.#countdown();
    const { client } = this;
    if (document.hidden || client.state.kind !== 'open' || !client.welcome) return this.#facts();
    if (this.#polls) {
      try {
        this.#stats = await client.request({ type: 'stats' });
      } catch ({ code }) {
        // An older pod does not know the command: then what the browser knows has to do.
        if (code === 'unknown_command') this.#polls = false;
      }
    }
    this.#facts();
  }

  #facts() {
    const { client } = this;
    const open = client.state.kind === 'open';
    const stats = this.#stats;
    const secure = stats?.tls ?? location.protocol === 'https:';
    const deflate = stats ? stats.compression : client.extensions.split(';')[0];
    const names = { websocket: 'WebSocket', webtransport: 'WebTransport', longpoll: 'Long-polling' };
    $('other-transport').hidden = !open || !isPossible();
    say($('other-transport'), `use ${names[this.#other()]}`);
    say($('transport'), open ? (names[stats?.transport] ?? stats?.transport ?? 'WebSocket') : '–');
    say(
      $('transport-more'),
      open ? (stats ? `connected ${clockOf(stats.connected_ms)}` : 'roomcast.v1') : 'not connected',
    );
    say($('tls'), open ? (secure ? 'TLS' : 'None') : '–');
    say($('tls-more'), open ? (secure ? 'encrypted' : 'this machine only') : '');
    if (open && !secure && !isLoopback()) say($('tls-more'), 'not encrypted here');
    say($('compression'), open ? (deflate ? 'Deflate' : 'None') : '–');
    say($('compression-more'), open ? deflate || 'not negotiated' : '');
    this.#saved(open, stats);
  }

  /** Never less than nothing: frames that are too small to compress cost a few bytes for their heads. */
  #saved(open, stats) {
    if (!open || !stats) {
      say($('saved'), '–');
      say($('saved-more'), open && !this.#polls ? 'this pod does not count them' : '');
      $('saved-bar').style.width = '100%';
      $('saved-fact').classList.add('unknown');
      say($('saved-absolute'), '');
      return;
    }
    $('saved-fact').classList.remove('unknown');
    const { bytes_plain: plain, bytes_out: wire } = stats;
    const share = plain > 0 ? Math.max(0, 1 - wire / plain) : 0;
    say($('saved'), `${Math.round(share * 100)} %`);
    say($('saved-more'), `${bytes(wire)} on the wire for ${bytes(plain)}`);
    say($('saved-absolute'), plain > wire ? `${bytes(plain - wire)} saved` : 'nothing to save yet');
    $('saved-bar').style.width = `${100 - share * 100}%`;
    const received = `${plural(stats.messages_in, 'message')} in (${bytes(stats.bytes_in)})`;
    $('saved-fact').title = `${plural(stats.frames_out, 'frame')} out, ${received}`;
  }
}

export const isLoopback = () => ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);

/** What a person should look at when no connection ever opened: the pod's HTTP answer tells more than the browser says. */
export async function diagnosis(code) {
  if (advice(code) !== 'soon') return null;
  try {
    await fetch('/page/pod.json', { cache: 'no-store' });
  } catch {
    return null;
  }
  const rules = `Outside of development mode, origins must contain ${location.origin}`;
  return `The pod answers, but no WebSocket opens. ${rules}, and there must be room for one more.`;
}
