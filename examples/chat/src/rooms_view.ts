// The list of rooms: what was said last in each, and how much of it is unread.

import type { ClientState } from 'roomcast';

import type { Conversation } from './conversation.js';
import { avatar, element, reconcile } from './element.js';

interface RoomRow {
  readonly id: string;
  readonly title: string;
  readonly last: string;
  readonly unread: number;
  readonly isOpen: boolean;
}

const STATES: Record<ClientState['kind'], string> = {
  idle: 'Not connected',
  connecting: 'Connecting…',
  open: 'Connected',
  waiting: 'Offline – back as soon as the network is',
  closed: 'Disconnected',
};

export interface RoomsView {
  readonly root: HTMLElement;
  show(
    conversations: readonly Conversation[],
    open: Conversation | undefined,
    unread: (room: string) => number,
    state: ClientState,
  ): void;
}

export function roomsView(user: string, leave: () => void): RoomsView {
  const list = element('ul', { class: 'room-list' });
  const state = element('p', { class: 'state', role: 'status' });
  const root = element(
    'nav',
    { class: 'rooms', 'aria-label': 'Rooms' },
    element('h1', {}, 'Rooms'),
    list,
    state,
    element(
      'div',
      { class: 'me' },
      avatar(user),
      element('span', { class: 'me-name' }, user),
      element('button', { type: 'button', class: 'quiet', onclick: leave }, 'Leave'),
    ),
  );
  const make = ({ id, title, last, unread, isOpen }: RoomRow) =>
    element(
      'li',
      {},
      element(
        'a',
        { href: `#${id}`, class: unread > 0 && 'has-unread', 'aria-current': isOpen && 'page' },
        element('span', { class: 'room-title' }, title),
        unread > 0 &&
          element(
            'span',
            { class: 'badge' },
            unread > 99 ? '99+' : `${unread}`,
            element('span', { class: 'unseen' }, ' unread'),
          ),
        element('span', { class: 'room-last' }, last),
      ),
    );
  return {
    root,
    show(conversations, open, unread, now) {
      const rows = conversations.map((one): RoomRow => {
        const last = one.messages.at(-1);
        const said = last ? `${last.author === user ? 'You' : last.author}: ${last.text}` : one.info.about;
        const { id, title } = one.info;
        return { id, title, last: one.problem ?? said, unread: unread(one.name), isOpen: one === open };
      });
      reconcile(list, rows, ({ id }) => id, make);
      state.dataset.state = now.kind;
      const text = now.kind === 'closed' && now.error ? `Disconnected: ${now.error.message}` : STATES[now.kind];
      if (state.textContent !== text) state.textContent = text;
    },
  };
}
