// The newest event of each key of a room, as a map that keeps itself up to date.
//
// For rooms that retain values by key: the values that the room keeps come first, then what changes them. Always holds: of two events of
// a key the one with the larger offset counts; where events are missing, the map begins anew.

import type { AnyRooms, Client, EventOf, RoomName } from './index.js';

/** Which events count, and what they do. */
export interface MapOptions<Topics> {
  /** Only events of these topics; otherwise of all. */
  readonly topics?: readonly (keyof Topics & string)[];
  /** Events of these topics take their key out of the map. */
  readonly removes?: readonly (keyof Topics & string)[];
  /** Events without a key have this one; otherwise they are passed over. */
  readonly keyless?: string;
}

/** The newest event of each key. */
export interface LiveMap<Topics> extends ReadonlyMap<string, EventOf<Topics>> {
  /** A copy that does not change, the same one until something changes. */
  readonly snapshot: ReadonlyMap<string, EventOf<Topics>>;
  /** Tells a listener of each change; what it answers takes the listener out again. */
  onChange(listener: (map: LiveMap<Topics>) => void): () => void;
  /** Ends it. */
  close(): void;
}

const MOST_REMOVED = 1_000;
/** The topic of events that say which others are deleted. */
const DELETED: string = '$deleted';

class Entries<Topics> extends Map<string, EventOf<Topics>> implements LiveMap<Topics> {
  readonly #listeners = new Set<{ listener: (map: LiveMap<Topics>) => void }>();
  #snapshot: ReadonlyMap<string, EventOf<Topics>> | undefined;
  close = () => {};

  get snapshot(): ReadonlyMap<string, EventOf<Topics>> {
    this.#snapshot ??= new Map(this);
    return this.#snapshot;
  }

  onChange(listener: (map: LiveMap<Topics>) => void): () => void {
    const entry = { listener };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  changed(report: (error: unknown) => void): void {
    this.#snapshot = undefined;
    for (const { listener } of [...this.#listeners]) {
      try {
        listener(this);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** Follows the newest event of each key of a room, which joins it. */
export function map<Rooms extends object = AnyRooms, Name extends RoomName<Rooms> = RoomName<Rooms>>(
  client: Client<Rooms>,
  room: Name,
  { topics, removes = [], keyless }: MapOptions<Rooms[Name]> = {},
): LiveMap<Rooms[Name]> {
  type Topic = keyof Rooms[Name] & string;
  const entries = new Entries<Rooms[Name]>();
  /** Offsets of keys that were taken out: an older value must not bring them back. The oldest are forgotten. */
  const removed = new Map<string, number>();
  const takeOut = (key: string, offset: number): boolean => {
    removed.set(key, offset);
    if (removed.size > MOST_REMOVED) removed.delete(removed.keys().next().value ?? '');
    return entries.delete(key);
  };
  const subscription = client.subscribe<Name>(room, {
    retained: true,
    load() {
      entries.clear();
      removed.clear();
      entries.changed(client.report);
    },
    event(event) {
      const { topic, key = keyless, offset } = event;
      if (topic === DELETED) {
        const gone = new Set((event.data as { offsets?: readonly number[] } | null)?.offsets);
        const keys = [...entries].filter(([, { offset = -1 }]) => gone.has(offset));
        for (const [known] of keys) takeOut(known, offset ?? -1);
        if (keys[0]) entries.changed(client.report);
        return;
      }
      const isRemoval = removes.includes(topic as Topic);
      if (key === undefined || (topics && !isRemoval && !topics.includes(topic as Topic))) return;
      const known = entries.get(key)?.offset ?? removed.get(key) ?? -1;
      // What is in no log is newer than all that has come, and than nothing that comes.
      if (offset !== undefined && offset < known) return;
      if (!isRemoval) {
        removed.delete(key);
        entries.set(key, event);
      } else {
        if (!takeOut(key, offset ?? known)) return;
      }
      entries.changed(client.report);
    },
  });
  entries.close = () => subscription.unsubscribe();
  return entries;
}
