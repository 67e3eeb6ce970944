// What was published against what each client saw and what the rooms' logs hold: the judge of a storm.
//
// Takes no part in it: it is told, and looks nothing up. Always holds: each fault is named once, with the client and the room; without
// faults each client saw each event of the log behind the one at which it joined, once, in the log's order, and the log has each publish
// once, in the order of its client.

/** The most faults of a kind that are written out. */
const MOST = 20;

/** One client's view of one room. */
class View {
  missing = new Set();
  seen = new Set();

  constructor(who, room) {
    this.name = `${who} in ${room}`;
  }
}

export class Ledger {
  #views = new Map();
  /** By room: the id of each offset, as the first client that saw it had it. */
  #shown = new Map();
  /** By room: what was answered to a publish, by its id. */
  #answers = new Map();
  #counts = { lost: 0, twice: 0, disordered: 0 };
  #faults = [];
  deliveries = 0;
  published = 0;

  #fault(kind, text) {
    this.#counts[kind] += 1;
    if (this.#counts[kind] <= MOST) this.#faults.push(`${kind}: ${text}`);
  }

  #view(who, room) {
    const key = `${who} ${room}`;
    const view = this.#views.get(key) ?? new View(who, room);
    this.#views.set(key, view);
    return view;
  }

  #of(map, room) {
    const found = map.get(room) ?? new Map();
    map.set(room, found);
    return found;
  }

  /** A client was told where it is in a room: `joined`, or that events are missing, which nothing here excuses. */
  told(who, room, why, offset) {
    const view = this.#view(who, room);
    if (view.at !== undefined) this.#fault('lost', `${view.name} was told "${why}" at ${view.at}`);
    view.at = offset;
  }

  /** A client saw an event. */
  saw(who, room, offset, id) {
    const view = this.#view(who, room);
    this.deliveries += 1;
    const shown = this.#of(this.#shown, room);
    const other = shown.get(offset);
    if (other === undefined) shown.set(offset, id);
    else if (other !== id) this.#fault('disordered', `${view.name} saw ${id} at ${offset}, where another saw ${other}`);
    if (view.at === undefined) return this.#fault('disordered', `${view.name} saw ${offset} before it was there`);
    if (view.seen.has(id)) return this.#fault('twice', `${view.name} saw ${id} again, at ${offset}`);
    view.seen.add(id);
    if (offset <= view.at) {
      view.missing.delete(offset);
      return this.#fault('disordered', `${view.name} saw ${offset} after ${view.at}`);
    }
    for (let hole = view.at + 1; hole < offset; hole++) view.missing.add(hole);
    view.at = offset;
  }

  /** How far a client came in a room. */
  reached(who, room) {
    return this.#view(who, room).at ?? 0;
  }

  /** A publish was answered. */
  answered(room, id, offset) {
    this.published += 1;
    this.#of(this.#answers, room).set(id, offset);
  }

  /** A publish was given up: nothing in a storm is a reason to. */
  refused(room, id, error) {
    this.#fault('lost', `the publish ${id} to ${room} was refused: ${error.code ?? error}`);
  }

  /** A room's log, at the end: `[offset, id]` of each event. `id` is the client's name, a colon and its number, which grows. */
  log(room, events) {
    const [shown, answers] = [this.#of(this.#shown, room), this.#of(this.#answers, room)];
    const places = new Map();
    const last = new Map();
    for (const [offset, id] of events) {
      if (places.has(id)) this.#fault('twice', `${id} is in the log of ${room} at ${places.get(id)} and ${offset}`);
      else places.set(id, offset);
      const [author, number] = id.split(':');
      if (Number(number) <= last.get(author))
        this.#fault('disordered', `${id} is in the log of ${room} after ${author}:${last.get(author)}`);
      last.set(author, Math.max(Number(number), last.get(author) ?? -1));
      if (shown.has(offset) && shown.get(offset) !== id)
        this.#fault('disordered', `${room} has ${id} at ${offset}, where ${shown.get(offset)} was seen`);
    }
    for (const [id, offset] of answers) {
      if (!places.has(id)) this.#fault('lost', `the publish ${id} is not in the log of ${room}`);
      else if (places.get(id) !== offset)
        this.#fault('twice', `the publish ${id} to ${room} was answered with ${offset}, and is at ${places.get(id)}`);
    }
  }

  /** The verdict: how many of each kind, and the first of them in words. `heads`: where each room's log ends. */
  judge(heads) {
    for (const [key, view] of this.#views) {
      const head = heads.get(key.slice(key.indexOf(' ') + 1));
      const short = Math.max(head - (view.at ?? 0), 0);
      for (const hole of view.missing) this.#fault('lost', `${view.name} never saw ${hole}`);
      for (let hole = 1; hole <= short; hole++) this.#fault('lost', `${view.name} never saw ${(view.at ?? 0) + hole}`);
    }
    return { ...this.#counts, faults: this.#faults };
  }
}
