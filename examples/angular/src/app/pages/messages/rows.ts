// What stands in a conversation, row by row: days, the line above what is new, messages.
//
// Pure: it makes a list of a list.

import type { Message, MessageState } from './message';

export type Row =
  | { readonly kind: 'day'; readonly key: string; readonly text: string }
  | { readonly kind: 'new'; readonly key: string }
  | {
      readonly kind: 'message';
      readonly key: string;
      readonly message: Message;
      readonly isOwn: boolean;
      /** Whether it opens a group, which says its author and time. */
      readonly opens: boolean;
      /** What its author sees of it. */
      readonly state: MessageState;
    };

/** Messages of one author within this time are a group. */
const GROUP = 5 * 60_000;
const DAY = 86_400_000;

const dayOf = (time: number) => new Date(time).toDateString();

function dayText(time: number, now: number): string {
  if (dayOf(time) === dayOf(now)) return 'Today';
  if (dayOf(time) === dayOf(now - DAY)) return 'Yesterday';
  return new Date(time).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
}

/** `readTo`: the last message that the user had read when the conversation was opened. */
export function rowsOf(
  messages: readonly Message[],
  user: string,
  readTo: number,
  stateOf: (message: Message) => MessageState,
  now: number,
): readonly Row[] {
  const rows: Row[] = [];
  let before: Message | undefined;
  let hasNew = false;
  for (const message of messages) {
    const { id, author, time, offset = Number.POSITIVE_INFINITY } = message;
    const isOwn = author === user;
    let opens = before?.author !== author || time - (before?.time ?? 0) > GROUP;
    if (!before || dayOf(before.time) !== dayOf(time)) {
      rows.push({ kind: 'day', key: `day ${dayOf(time)}`, text: dayText(time, now) });
      opens = true;
    }
    if (!hasNew && !isOwn && offset > readTo) {
      rows.push({ kind: 'new', key: 'new' });
      hasNew = true;
      opens = true;
    }
    rows.push({ kind: 'message', key: id, message, isOwn, opens, state: isOwn ? stateOf(message) : message.state });
    before = message;
  }
  return rows;
}
