// What stands in a conversation, row by row: days, the line above what is new, messages.
//
// Pure: it makes a list of a list.

import type { ChatMessage, Conversation } from './conversation.js';

export type Row =
  | { readonly kind: 'day'; readonly key: string; readonly text: string }
  | { readonly kind: 'new'; readonly key: string }
  | {
      readonly kind: 'message';
      readonly key: string;
      readonly message: ChatMessage;
      readonly isOwn: boolean;
      /** Whether it opens a group, which says its author and time. */
      readonly opens: boolean;
      /** The others that have read this one, and none of the user's that is newer. */
      readonly readBy: readonly string[];
    };

/** Messages of one author within this time are a group. */
const GROUP = 5 * 60_000;

const dayOf = (time: number) => new Date(time).toDateString();

function dayText(time: number, now: number): string {
  if (dayOf(time) === dayOf(now)) return 'Today';
  if (dayOf(time) === dayOf(now - 86_400_000)) return 'Yesterday';
  return new Date(time).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
}

/** `readUpTo`: the last event that the user had read when the room was opened. */
export function rowsOf(
  messages: readonly ChatMessage[],
  user: string,
  readUpTo: number | undefined,
  read: Conversation['read'],
  now: number,
): readonly Row[] {
  const rows: Row[] = [];
  let before: ChatMessage | undefined;
  let isNew = readUpTo === undefined;
  for (const message of messages) {
    const { id, author, time, offset = Number.POSITIVE_INFINITY } = message;
    const isOwn = author === user;
    let opens = !before || before.author !== author || time - before.time > GROUP;
    if (!before || dayOf(before.time) !== dayOf(time)) {
      rows.push({ kind: 'day', key: `day ${dayOf(time)}`, text: dayText(time, now) });
      opens = true;
    }
    if (!isNew && !isOwn && readUpTo !== undefined && offset > readUpTo) {
      rows.push({ kind: 'new', key: 'new' });
      isNew = true;
      opens = true;
    }
    rows.push({ kind: 'message', key: id, message, isOwn, opens, readBy: read?.id === id ? read.by : [] });
    before = message;
  }
  return rows;
}
