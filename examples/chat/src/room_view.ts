// A conversation on the page: its messages, who is there and who types, and the field for the next message.
//
// Always holds: what a reader looks at stays where it is; only at the end of the list it follows what comes.

import type { ChatMessage, Conversation } from './conversation.js';
import { avatar, element, reconcile } from './element.js';
import { type Row, rowsOf } from './rows.js';

export interface RoomView {
  readonly root: HTMLElement;
  /** Shows a conversation; another one than before from its end. */
  show(conversation: Conversation | undefined, readUpTo: number | undefined): void;
  /** Whether the newest message is in sight. */
  readonly isAtEnd: boolean;
  focus(): void;
}

const MOST_FACES = 5;
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** `ann`, `ann and bob`, `ann, bob and 3 others`. */
function listed(names: readonly string[]): string {
  if (names.length > 3) return `${names.slice(0, 2).join(', ')} and ${names.length - 2} others`;
  return new Intl.ListFormat('en', { type: 'conjunction' }).format(names);
}

/** `changed`: what is in sight is another part, or another room's. */
export function roomView(user: string, changed: () => void): RoomView {
  let shown: Conversation | undefined;
  const drafts = new Map<string, string>();

  const title = element('h2', { id: 'room-title' });
  const about = element('p', { class: 'about' });
  const faces = element('ul', { class: 'faces', 'aria-label': 'Here now' });
  const older = element(
    'button',
    { type: 'button', class: 'older', onclick: () => showOlder() },
    'Show earlier messages',
  );
  const messages = element('ol', { class: 'messages' });
  const log = element(
    'div',
    { class: 'log', role: 'log', 'aria-labelledby': 'room-title', tabindex: 0 },
    older,
    messages,
  );
  const down = element('button', { type: 'button', class: 'down', onclick: () => toEnd() }, 'New messages');
  const typing = element('p', { class: 'typing', 'aria-live': 'polite' });
  const text = element('textarea', { id: 'text', rows: 1, maxlength: 4_000, placeholder: 'Write a message' });
  const label = element('label', { for: 'text', class: 'unseen' });
  const send = element('button', { type: 'submit' }, 'Send');
  const composer = element('form', { class: 'composer' }, label, text, send);
  const empty = element('p', { class: 'empty' });
  const root = element(
    'section',
    { class: 'room', 'aria-labelledby': 'room-title' },
    element(
      'header',
      {},
      element('a', { href: '#', class: 'back', 'aria-label': 'All rooms' }, '‹'),
      element('div', { class: 'names' }, title, about),
      faces,
    ),
    element('div', { class: 'sheet' }, log, empty, down),
    typing,
    composer,
  );

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
    changed();
  };
  const showOlder = async () => {
    const below = log.scrollHeight - log.scrollTop;
    older.disabled = true;
    try {
      await shown?.older();
    } finally {
      older.disabled = false;
      log.scrollTop = log.scrollHeight - below;
    }
  };
  const fit = () => {
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight}px`;
    send.disabled = !text.value.trim();
  };
  const submit = () => {
    const said = text.value.trim();
    if (!said || !shown) return;
    shown.send(said);
    text.value = '';
    fit();
    toEnd();
  };
  composer.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  text.addEventListener('keydown', (event) => {
    // A keyboard on a screen has a key for a new line, and no Shift with it.
    const isSent =
      event.key === 'Enter' && !event.shiftKey && !event.isComposing && matchMedia('(pointer: fine)').matches;
    if (!isSent) return;
    event.preventDefault();
    submit();
  });
  text.addEventListener('input', () => {
    fit();
    shown?.type(text.value);
  });
  log.addEventListener('scroll', () => {
    if (isAtEnd()) changed();
  });

  const make = (row: Row): HTMLElement => {
    if (row.kind === 'day') return element('li', { class: 'day' }, element('span', {}, row.text));
    if (row.kind === 'new') return element('li', { class: 'new' }, element('span', {}, 'New'));
    const { message, isOwn, opens, readBy } = row;
    const { author, time, state } = message;
    const head = element(
      'p',
      { class: opens ? 'head' : 'unseen' },
      element('strong', {}, isOwn ? 'You' : author),
      ' ',
      element('time', { datetime: new Date(time).toISOString() }, clock.format(time)),
    );
    const said = element('p', { class: 'text' }, message.text);
    return element(
      'li',
      { class: `message ${isOwn ? 'own' : 'other'} ${opens ? 'opens' : ''}`, 'data-state': state },
      !isOwn && opens && avatar(author),
      element('div', { class: 'said' }, head, said, isOwn && sentState(message, readBy)),
    );
  };
  const sentState = ({ id, state, problem }: ChatMessage, readBy: readonly string[]) => {
    if (state === 'sent')
      return readBy.length > 0 && element('p', { class: 'sent-state' }, `Read by ${listed(readBy)}`);
    if (state === 'waiting') return element('p', { class: 'sent-state' }, 'Sending…');
    return element(
      'p',
      { class: 'sent-state' },
      `Not sent: ${problem} `,
      element('button', { type: 'button', class: 'link', onclick: () => shown?.retry(id) }, 'Try again'),
      ' ',
      element('button', { type: 'button', class: 'link', onclick: () => shown?.discard(id) }, 'Discard'),
    );
  };

  return {
    root,
    get isAtEnd() {
      return isAtEnd();
    },
    focus() {
      // On a phone this would open the keyboard over what is to be read.
      if (matchMedia('(pointer: fine)').matches) text.focus();
    },
    show(conversation, readUpTo) {
      root.hidden = !conversation;
      if (!conversation) {
        shown = undefined;
        return;
      }
      const isOther = conversation !== shown;
      const follows = isOther || isAtEnd();
      if (isOther) {
        if (shown) drafts.set(shown.name, text.value);
        shown = conversation;
        text.value = drafts.get(conversation.name) ?? '';
        messages.replaceChildren();
        title.textContent = conversation.info.title;
        about.textContent = conversation.info.about;
        label.textContent = `Message to ${conversation.info.title}`;
      }
      const { people } = conversation;
      reconcile(
        faces,
        [...people.slice(0, MOST_FACES), ...(people.length > MOST_FACES ? [`+${people.length - MOST_FACES}`] : [])],
        (name) => name,
        (name) => element('li', {}, avatar(name, name), element('span', { class: 'unseen' }, name)),
      );
      reconcile(
        messages,
        rowsOf(conversation.messages, user, readUpTo, conversation.read, Date.now()),
        ({ key }) => key,
        make,
      );
      older.hidden = !conversation.hasOlder;
      const nothing = conversation.messages.length === 0;
      empty.hidden = !nothing;
      const why = conversation.isLoading ? 'Loading…' : 'Nothing was said here yet. Say hello.';
      empty.textContent = conversation.problem ?? why;
      composer.hidden = conversation.problem !== undefined;
      const names = conversation.typing;
      const types = names.length === 0 ? '' : `${listed(names)} ${names.length === 1 ? 'is' : 'are'} typing`;
      if (typing.textContent !== types) typing.replaceChildren(types && element('span', {}, types));
      if (follows) log.scrollTop = log.scrollHeight;
      down.hidden = follows || nothing;
      if (isOther) fit();
    },
  };
}
