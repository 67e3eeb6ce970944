// The chat of one person: one client, a conversation for each room, and what of them is on the page.
//
// Always holds: a room counts as read when its newest message is in sight of a page that is looked at.

import { Client } from 'roomcast';
import { receipts } from 'roomcast/receipts';
import { unread } from 'roomcast/unread';

import { Conversation } from './conversation.js';
import { element } from './element.js';
import { roomsView } from './rooms_view.js';
import { roomView } from './room_view.js';
import { begin, type ChatRooms, type Session } from './session.js';

/** Puts the chat on the page; what it answers takes it off. */
export function openChat({ name, token, pod, rooms }: Session, place: HTMLElement, leave: () => void): () => void {
  let first: string | undefined = token;
  const client = new Client<ChatRooms>({
    url: pod,
    // The session has one already; later ones are fetched before it ends.
    async token() {
      const next = first ?? (await begin(name)).token;
      first = undefined;
      return next;
    },
  });
  const read = receipts(client);
  const conversations = rooms.map((room) => new Conversation(client, read, name, room, change));
  const counts = unread(client, ...conversations.map(({ name }) => name));
  const list = roomsView(name, leave);
  const view = roomView(name, change);
  const chat = element('div', { class: 'chat' }, list.root, view.root);
  let open: Conversation | undefined;
  /** The last event that was read when the room was opened, if there was more: new is what stands behind it. */
  let readUpTo: number | undefined;
  let isDue = false;

  const unreadOf = (room: string) => counts.snapshot.rooms.get(room)?.unread ?? 0;

  function change(): void {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      show();
    });
  }
  function show(): void {
    const counted = open && counts.snapshot.rooms.get(open.name);
    if (counted) readUpTo ??= counted.unread > 0 ? counted.position.offset : Number.POSITIVE_INFINITY;
    view.show(open, readUpTo);
    const isLookedAt = document.visibilityState === 'visible' && document.hasFocus();
    if (open && isLookedAt && !open.isLoading && view.isAtEnd && unreadOf(open.name) > 0) counts.read(open.name);
    list.show(conversations, open, unreadOf, client.state);
    const { total } = counts.snapshot;
    document.title = `${total > 0 ? `(${total}) ` : ''}${open ? `${open.info.title} – ` : ''}Chat`;
  }
  function go(): void {
    const wanted = decodeURIComponent(location.hash.slice(1));
    // Beside the list there is always a room; on a phone the list is a page of its own.
    const isWide = matchMedia('(min-width: 45rem)').matches;
    const next = conversations.find(({ info }) => info.id === wanted) ?? (isWide ? conversations[0] : undefined);
    if (next !== open) readUpTo = undefined;
    open = next;
    chat.dataset.pane = open ? 'room' : 'list';
    show();
    if (open) view.focus();
  }

  const stops = [client.onState(change), counts.onChange(change), read.onChange(change)];
  const over = new AbortController();
  const { signal } = over;
  addEventListener('hashchange', go, { signal });
  addEventListener('focus', change, { signal });
  addEventListener('resize', change, { signal });
  document.addEventListener('visibilitychange', change, { signal });
  place.replaceChildren(chat);
  go();
  return () => {
    over.abort();
    for (const stop of stops) stop();
    counts.close();
    read.close();
    for (const conversation of conversations) conversation.close();
    client.close();
  };
}
