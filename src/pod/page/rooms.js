// The rooms that this page is in: join by name, position, members, rate; one of them is the one to publish to.

import { $, count, el, plural, say } from './element.js';

/** Tones that tell rooms apart; defined in page.css. */
const TONES = 6;
/** Members that are named; the others are counted. */
const NAMED = 8;

export class Rooms {
  #cards = new Map();
  #tones = new Map();
  #before = new Map();
  selected = null;

  constructor(client, onSelect) {
    this.client = client;
    this.onSelect = onSelect;
    $('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    $('join-name').addEventListener('input', () => this.#wrong(''));
    setInterval(() => this.#rates(), 1_000);
    this.#emptiness();
  }

  #submit() {
    const name = $('join-name').value.trim();
    const wrong = wrongName(name);
    this.#wrong(wrong);
    if (wrong) return;
    $('join-name').value = '';
    this.join(name);
  }

  #wrong(text) {
    say($('join-says'), text);
    $('join-name').setAttribute('aria-invalid', String(text !== ''));
  }

  join(name) {
    this.client.subscribe(name);
    this.select(name);
  }

  /** A number from 0 that stays with a room's name. */
  tone(name) {
    if (!this.#tones.has(name)) this.#tones.set(name, this.#tones.size % TONES);
    return this.#tones.get(name);
  }

  select(name) {
    this.selected = name;
    for (const [room, card] of this.#cards) {
      card.root.classList.toggle('selected', room === name);
      card.name.setAttribute('aria-pressed', String(room === name));
    }
    this.onSelect(name);
  }

  /** Shows a room as it is now; `what` is `left` when it is gone. */
  show(room, what) {
    const { name } = room;
    if (what === 'left') {
      this.#leave(name);
    } else {
      const card = this.#cards.get(name) ?? this.#card(name);
      card.root.dataset.status = room.status;
      const { position, error } = room;
      if (position && !error) this.#position(card, position);
      else say(card.position, error ? '' : 'joining…');
      say(card.error, error ? `${error.code}: ${error.message}` : '');
      this.#members(card, room);
    }
    this.#emptiness();
  }

  /** After events: only what moved. */
  moved(room) {
    const card = this.#cards.get(room.name);
    if (card && room.position) this.#position(card, room.position);
  }

  #position(card, { epoch, offset }) {
    say(card.position, `${epoch.slice(0, 6)} · ${count(offset)}`);
    card.position.title = `epoch ${epoch}, offset ${offset}`;
  }

  #card(name) {
    const parts = {
      name: el(
        'button',
        {
          class: 'room-name',
          type: 'button',
          'aria-pressed': 'false',
          title: 'Publish to this room',
          onclick: () => this.select(name),
        },
        name,
      ),
      position: el('span', { class: 'position' }),
      rate: el('span', { class: 'rate' }, '0/s'),
      members: el('p', { class: 'members', hidden: true }),
      error: el('p', { class: 'wrong' }),
    };
    const leave = el(
      'button',
      {
        class: 'quiet-button',
        type: 'button',
        'aria-label': `Leave ${name}`,
        title: 'Leave',
        onclick: () => {
          this.client.unsubscribe(name);
          $('join-name').focus();
        },
      },
      '×',
    );
    parts.root = el(
      'li',
      { class: 'room', 'data-tone': this.tone(name), 'data-room': name },
      el('div', { class: 'room-head' }, parts.name, leave),
      el('p', { class: 'room-line' }, parts.position, parts.rate),
      parts.members,
      parts.error,
    );
    this.#cards.set(name, parts);
    $('room-list').append(parts.root);
    $('room-names').append(el('option', { value: name }));
    if (this.selected === name) this.select(name);
    return parts;
  }

  #leave(name) {
    this.#cards.get(name)?.root.remove();
    this.#cards.delete(name);
    this.#before.delete(name);
    for (const option of $('room-names').children) if (option.value === name) option.remove();
    if (this.selected === name) this.select(this.#cards.keys().next().value ?? null);
  }

  #members(card, { members, total, status }) {
    const known = total !== null && status === 'joined';
    card.members.hidden = !known;
    if (!known) return;
    const own = this.client.welcome?.connection;
    const all = [...(members ?? [])];
    const chip = ([connection, user]) =>
      el(
        'span',
        { class: connection === own ? 'member own' : 'member', title: `connection ${connection}` },
        connection === own ? 'you' : (user ?? connection.slice(0, 5)),
      );
    // Oneself first.
    const named = all
      .sort(([a], [b]) => (b === own) - (a === own))
      .slice(0, NAMED)
      .map(chip);
    const more = total - named.length;
    card.members.replaceChildren(
      el('span', { class: 'here' }, `${count(total)} here`),
      ...named,
      more > 0 && named.length > 0 ? el('span', { class: 'member' }, `+${count(more)}`) : '',
    );
  }

  #rates() {
    for (const [name, { received }] of this.client.rooms) {
      const before = this.#before.get(name) ?? 0;
      this.#before.set(name, received);
      const card = this.#cards.get(name);
      if (card) say(card.rate, `${count(Math.max(0, received - before))}/s`);
    }
  }

  #emptiness() {
    $('no-rooms').hidden = this.#cards.size > 0;
    say($('room-count'), plural(this.#cards.size, 'room'));
  }
}

/** What is wrong with a room's name, by the rules of docs/PROTOCOL.md; empty: nothing. */
function wrongName(name) {
  if (!name) return 'Give the room’s name, for example demo:1.';
  if (/[\p{Cc}\s{}]/u.test(name)) return 'A room’s name has no white space, braces or control characters.';
  return new Blob([name]).size > 255 ? 'A room’s name has at most 255 bytes.' : '';
}
