// Publishing: one event by the form, a steady stream by the generator, and lines to do the same from elsewhere.
//
// Always holds: the generator never sends faster than the pod allows one connection, and stops at the first refusal.

import { $, copy, count, say, span } from './element.js';
import { Fleet } from './fleet.js';
import { isLoopback } from './header.js';
import { wrongJson } from './json.js';

/** Publishes that may be unanswered before the generator waits: the pod's limit is 64. */
const IN_FLIGHT = 48;
/** Commands a second left for everything that is not the generator. */
const SPARE = 8;
const TICK = 20;

export class Publish {
  #timer = null;
  #owed = 0;
  /** Where the generator publishes: the room of the form when it was started. */
  #room = '';
  #last = 0;
  #fleet = new Fleet();
  /** Where backends publish, as far as the page knows. */
  #api = 'http://localhost:9000';
  sent = 0;

  constructor(client, announce) {
    Object.assign(this, { client, announce });
    $('publish-form').addEventListener('submit', (event) => (event.preventDefault(), this.#submit()));
    $('publish-form').addEventListener('input', () => this.#snippets());
    $('publish-data').addEventListener('input', () => this.#check());
    $('publish-data').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.#submit();
      }
    });
    $('generate').addEventListener('click', () => (this.#timer ? this.stop() : this.#start()));
    $('generate-rate').addEventListener('input', () => this.#rate());
    for (const button of document.querySelectorAll('[data-copies]')) {
      button.addEventListener('click', () => copy(button, $(button.dataset.copies)));
    }
    this.#rate();
    this.#snippets();
  }

  /** What `/page/pod.json` and `welcome` say. */
  knows({ api_port: port }) {
    if (port) this.#api = `http://${isLoopback() ? 'localhost' : location.hostname}:${port}`;
    this.#snippets();
  }

  limits({ commands_per_second: most }) {
    const slider = $('generate-rate');
    slider.max = Math.max(1, Math.min(1_000, most - SPARE));
    this.#rate();
  }

  room(name) {
    if (name) $('publish-room').value = name;
    this.#snippets();
  }

  #form() {
    const value = (id) => $(id).value.trim();
    const [room, topic, key, data] = ['room', 'topic', 'key', 'data'].map((field) => value(`publish-${field}`));
    return { room, topic, key, data };
  }

  #check() {
    const wrong = wrongJson($('publish-data').value);
    $('publish-data').setAttribute('aria-invalid', String(wrong !== ''));
    say($('data-says'), wrong);
    return wrong === '';
  }

  async #submit() {
    const form = this.#form();
    if (!this.#check()) {
      $('publish-data').focus();
      return;
    }
    for (const field of ['room', 'topic']) {
      $(`publish-${field}`).setAttribute('aria-invalid', String(!form[field]));
      if (!form[field]) {
        this.#says(`Give the event a ${field}.`, 'wrong');
        $(`publish-${field}`).focus();
        return;
      }
    }
    const began = performance.now();
    try {
      const { offset } = await this.client.publish(form);
      const took = span(performance.now() - began);
      this.#says(`Published to ${form.room} at offset ${count(offset)}, answered in ${took}.`, 'good');
    } catch (error) {
      this.#refused(error, form);
    }
  }

  #refused(error, form) {
    const text = {
      forbidden: `Clients may not publish to ${form.room} (forbidden). Its policy leaves that to backends:`,
      unauthorized: `Publishing to ${form.room} needs a token (top right).`,
      lost: 'There is no connection. The event was not sent, or its answer was lost.',
      rate_limited: 'Too many commands a second: the pod did not take this one.',
      unknown: 'The pod does not know whether the event is in the log.',
    }[error.code];
    this.#says(text ?? error.message, 'wrong', error.code);
    if (error.code === 'forbidden') {
      say($('backend-line'), this.#curl(form));
      $('as-backend').hidden = false;
    }
  }

  #says(text, kind, code) {
    $('as-backend').hidden = true;
    const says = $('publish-says');
    says.className = `says wide ${kind}`;
    says.dataset.code = code ?? '';
    say(says, code && !text.includes(code) ? `${text} (${code})` : text);
  }

  #rate() {
    say($('generate-shown'), `${count(Number($('generate-rate').value))} events/s`);
    $('generate-rate').setAttribute('aria-valuetext', $('generate-shown').textContent);
  }

  #start() {
    this.#room = this.#form().room;
    if (!this.#room) {
      this.#says('Give the generator a room.', 'wrong');
      $('publish-room').focus();
      return;
    }
    this.#owed = 1;
    this.#last = performance.now();
    this.#timer = setInterval(() => this.#generate(), TICK);
    this.#running(true);
    this.announce('Publishing started.');
  }

  stop(why) {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#running(false);
    this.announce(why ?? 'Publishing stopped.');
  }

  #running(running) {
    say($('generate'), running ? 'Stop' : 'Start');
    say($('generate-room'), running ? `to ${this.#room}` : '');
    $('generate').classList.toggle('running', running);
    $('generate').setAttribute('aria-pressed', String(running));
  }

  #generate() {
    const now = performance.now();
    // What could not be sent in time (a hidden tab, a pause) is not made up for: the rate is a rate.
    this.#owed = Math.min(this.#owed + ((now - this.#last) / 1000) * Number($('generate-rate').value), IN_FLIGHT);
    this.#last = now;
    if (this.client.state.kind !== 'open') return;
    while (this.#owed >= 1 && this.client.inFlight < IN_FLIGHT) {
      this.#owed -= 1;
      this.sent += 1;
      const event = { room: this.#room, ...this.#fleet.next($('generate-size').value) };
      this.client.publish(event).catch((error) => {
        if (error.code === 'lost' || !this.#timer) return;
        this.stop('Publishing stopped: the pod refused an event.');
        this.#refused(error, event);
      });
    }
  }

  #curl({ room, topic, data }) {
    const body = `{"room":${JSON.stringify(room)},"topic":${JSON.stringify(topic)},"data":${data}}`;
    return [
      `curl ${this.#api}/api/publish \\`,
      `  -H "Authorization: Bearer $ROOMCAST_API_KEY" \\`,
      `  -d '${body.replaceAll("'", "'\\''")}'`,
    ].join('\n');
  }

  #snippets() {
    const form = this.#form();
    const data = wrongJson(form.data) ? '{"text":"hello"}' : form.data.replace(/\n\s*/g, ' ');
    const room = form.room || 'demo:1';
    const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
    say($('snippet-curl'), this.#curl({ room, topic: form.topic || 'greeting', data }));
    say(
      $('snippet-js'),
      [
        `const socket = new WebSocket(${JSON.stringify(url)}, "roomcast.v1");`,
        'socket.onopen = () =>',
        `  socket.send(JSON.stringify({ type: "subscribe", room: ${JSON.stringify(room)} }));`,
        'socket.onmessage = ({ data }) => console.log(JSON.parse(data));',
      ].join('\n'),
    );
  }
}
