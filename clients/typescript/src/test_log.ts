// The log of a room in memory: its events, what is asked of the past, what is deleted.
//
// Always holds: an event's place in the list is its offset less one, deleted or not.

import type { Message, Position } from './index.js';
import type { WireEvent } from './event.js';

/** A log, and the epoch of its offsets. */
export interface TestLog {
  readonly epoch: string;
  readonly log: WireEvent[];
}

/** The topic of an event that says which ones are deleted, and of what stands in their places. */
const DELETED = '$deleted';

/** The newest events; with `since` those that follow, or the first ones where the log does not have that position. */
export function pastOf({ epoch, log }: TestLog, since: Position | undefined, limit = 1_000): Omit<Message, 'type'> {
  const isHere = since?.epoch === epoch && since.offset <= log.length;
  const first = since?.epoch === epoch ? Math.min(since.offset, log.length) : 0;
  const after = since ? first : Math.max(log.length - limit, 0);
  const events = log.slice(after, after + limit);
  const offset = after + events.length;
  return { epoch, after, offset, complete: offset === log.length && (since ? isHere : after === 0), events };
}

/** The newest event of each key, as a room keeps them. */
export function newestOf({ log }: TestLog): WireEvent[] {
  const kept = log.filter(({ topic }) => topic !== DELETED);
  return [...new Map(kept.map((event) => [event.key, event])).values()];
}

/** Takes out an event of this user. Answers what its room is told, or nothing if it was deleted before; or the code of an error. */
export function remove(
  { epoch, log }: TestLog,
  at: Partial<Position>,
  user: string | undefined,
): 'bad_position' | 'forbidden' | { readonly data: object } | undefined {
  const { offset = 0 } = at;
  const event = log[offset - 1];
  if (!event || (at.epoch ?? epoch) !== epoch) return 'bad_position';
  const { topic, id, time } = event;
  if (topic === DELETED) return undefined;
  if (event.user !== user) return 'forbidden';
  const ids = id === undefined ? {} : { ids: [id] };
  log[offset - 1] = {
    topic: DELETED,
    data: { offsets: [offset] },
    time,
    ...(id !== undefined && { id }),
    offset,
  };
  return { data: { offsets: [offset], ...ids } };
}
