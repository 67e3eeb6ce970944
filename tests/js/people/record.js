// What happened in a run, noted while it happens: what was published, said, read, got, who was there when. Judges nothing.

/** A list of a map, made where there is none yet. */
const listOf = (map, name) => map.get(name) ?? map.set(name, []).get(name);
const mapOf = (map, name) => map.get(name) ?? map.set(name, new Map()).get(name);

export class Record {
  /** device -> {user, channels} */
  devices = new Map();
  /** channel -> seq -> id, of what was answered with a position. */
  published = new Map();
  /** device -> [[channel, seq]], in the order in which it said them, one after the other. */
  said = new Map();
  /** user -> channel -> the highest seq that it said it has read. */
  read = new Map();
  /** user -> [{status, sent, answered}] */
  chosen = new Map();
  /** user -> [{at, open, device}] */
  presence = new Map();
  /** user -> watcher -> [{status, id, time, offset}] */
  told = new Map();
  /** What the server says is unread in the end: [{user, by, rooms: channel -> {read, end, unread}}] */
  unread = [];
  /** Rows of the archive: [[channel, seq, id]]; and how many are pending or unknown. */
  archive = [];
  pending = 0;
  troubles = [];
  refusals = new Map();
  closes = new Map();
  /** Badges that came unasked. */
  badges = 0;
  events = 0;

  device(device, user) {
    this.devices.set(device.name, { user, channels: device.channels });
  }

  #userOf(device) {
    return this.devices.get(device).user;
  }

  opened(device) {
    listOf(this.presence, this.#userOf(device)).push({ at: Date.now(), open: true, device });
  }

  closed(device, code) {
    this.closes.set(code, (this.closes.get(code) ?? 0) + 1);
    listOf(this.presence, this.#userOf(device)).push({ at: Date.now(), open: false, device });
  }

  publication(channel, seq, id, device) {
    const log = mapOf(this.published, channel);
    if (log.has(seq)) this.trouble(`${channel}: ${id} and ${log.get(seq)} were both answered with ${seq}`);
    log.set(seq, id);
    if (device) listOf(this.said, device).push([channel, seq]);
  }

  reads(user, channel, seq) {
    const read = mapOf(this.read, user);
    read.set(channel, Math.max(read.get(channel) ?? 0, seq));
  }

  /** A user chooses its status; the returned function notes that it was answered. */
  chooses(user, status) {
    const choice = { status, sent: Date.now(), answered: null };
    listOf(this.chosen, user).push(choice);
    return () => (choice.answered ??= Date.now());
  }

  tells(watcher, user, news) {
    listOf(mapOf(this.told, user), watcher).push(news);
  }

  badge(device, { id, data: { channel, unread, read_seq: read, seq } }) {
    if (id === undefined) this.badges++;
    if (unread !== seq - read) this.trouble(`${device}: ${channel} has ${unread} unread of ${read} to ${seq}`);
    const most = this.read.get(this.#userOf(device))?.get(channel) ?? 0;
    if (read > most) this.trouble(`${device}: ${channel} is read up to ${read}, and nobody has said more than ${most}`);
  }

  received() {
    this.events++;
  }

  refused(code) {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  trouble(what) {
    this.troubles.push(what);
  }

  /** When a user had no connection: `{from, to, device}`, of which the last may have no end. The first begins with the run. */
  absences(user) {
    const here = new Set();
    const absences = [{ from: 0, to: Number.POSITIVE_INFINITY }];
    for (const { at, open, device } of this.presence.get(user) ?? []) {
      if (open) {
        if (here.size === 0) absences.at(-1).to = at;
        here.add(device);
      } else if (here.delete(device) && here.size === 0) {
        absences.push({ from: at, to: Number.POSITIVE_INFINITY });
      }
    }
    return absences;
  }
}
