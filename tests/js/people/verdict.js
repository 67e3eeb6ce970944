// What a run's record says about the server: each fault is a line. Takes no part in the run.
//
// An event is owed to a device that was in its channel before. `lost`: it did not get it; `twice`: it got it again, or one id has two
// places; `order`: it came behind a later one, or two of one device stand the other way around; `unread`: what the server says is unread in the end is
// not what the user has not read; `presence`: followers were told something else than what was so, too early, too late, or again.
// `archive`: it is not what was published.

export const KINDS = ['lost', 'twice', 'order', 'unread', 'presence', 'archive', 'other'];

/** `ends`: when pods died or left; `times`: `lease`, `debounce` and `slack` in ms; `began`: when all were there. */
export function judge(record, { ends, times, began, over }) {
  const verdict = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  const logs = logsOf(record, verdict);
  for (const [device, { channels }] of record.devices) {
    for (const [channel, note] of channels) follow(`${device} in ${channel}`, note, logs.get(channel), verdict);
  }
  for (const [device, said] of record.said) {
    const last = new Map();
    for (const [channel, seq] of said) {
      if (seq <= (last.get(channel) ?? 0))
        verdict.order.push(`${device}: ${channel} has it at ${seq}, what it said before at ${last.get(channel)}`);
      last.set(channel, seq);
    }
  }
  unread(record, logs, verdict);
  for (const user of record.chosen.keys()) presence(user, record, { ends, times, began, over }, verdict.presence);
  archive(record, verdict.archive);
  verdict.other.push(...record.troubles);
  return verdict;
}

/** Each channel's events, by what was answered, and by what any watcher of presence saw. */
function logsOf(record, verdict) {
  const logs = new Map([...record.published].map(([channel, log]) => [channel, new Map(log)]));
  for (const [channel, log] of logs) {
    const places = new Map();
    for (const [seq, id] of log) {
      if (places.has(id)) verdict.twice.push(`${channel}: ${id} at ${places.get(id)} and at ${seq}`);
      places.set(id, seq);
    }
  }
  for (const [user, watchers] of record.told) {
    const log = new Map();
    logs.set(`presence:${user}`, log);
    for (const news of watchers.values()) for (const { offset, status } of news) log.set(offset, status);
  }
  return logs;
}

function follow(who, { joined, got, gaps, unrecovered, wrong }, log = new Map(), verdict) {
  if (joined === null) return void verdict.lost.push(`${who}: never joined`);
  if (gaps.length > 0) verdict.lost.push(`${who}: gaps ${gaps}`);
  for (const seq of unrecovered) verdict.lost.push(`${who}: not recovered at ${seq}`);
  verdict.other.push(...wrong.map((what) => `${who}: ${what}`));
  const seen = new Map();
  let last = joined;
  for (const [seq, id] of got) {
    if (seen.has(seq)) verdict.twice.push(`${who}: ${id} at ${seq} again`);
    else if (seq < last) verdict.order.push(`${who}: ${id} at ${seq} behind ${last}`);
    if (log.has(seq) && log.get(seq) !== id) verdict.other.push(`${who}: ${id} at ${seq}, where ${log.get(seq)} is`);
    seen.set(seq, id);
    last = Math.max(last, seq);
  }
  // A channel's numbers have no holes, so that an event without an answer is owed as well.
  const end = Math.max(last, ...log.keys());
  for (let seq = joined + 1; seq <= end; seq++) {
    if (!seen.has(seq)) verdict.lost.push(`${who}: ${log.get(seq) ?? 'an event'} at ${seq}`);
  }
}

function unread(record, logs, verdict) {
  for (const { user, by, rooms } of record.unread) {
    const read = record.read.get(user) ?? new Map();
    for (const channel of new Set([...read.keys(), ...rooms.keys()])) {
      const end = Math.max(0, ...(logs.get(channel)?.keys() ?? []));
      const wanted = `${end - (read.get(channel) ?? 0)} of ${end}`;
      const said = rooms.get(channel);
      const is = said ? `${said.unread} of ${said.end}` : 'nothing';
      if (is !== wanted) verdict.unread.push(`${user} by ${by}: ${channel} has ${is} unread, where ${wanted} are`);
    }
  }
}

function archive({ published, archive: rows, pending }, faults) {
  if (pending > 0) faults.push(`${pending} rows are pending or unknown`);
  const missing = new Map();
  for (const [channel, log] of published) {
    if (channel.startsWith('message:')) for (const [seq, id] of log) missing.set(`${channel} ${seq} ${id}`, id);
  }
  const known = new Set();
  for (const [channel, seq, id] of rows) {
    const place = `${channel} ${seq} ${id}`;
    if (known.has(place) || !missing.has(place)) faults.push(`${place}: nobody was told of it, or it is there twice`);
    known.add(place);
    missing.delete(place);
  }
  faults.push(...[...missing.keys()].map((place) => `${place} is missing`));
}

/** What followers were told of a user against when it was there and what it chose. */
function presence(user, record, { ends, times, began, over }, faults) {
  const fault = (what) => faults.push(`${user}: ${what}`);
  const [told, ...others] = [...(record.told.get(user)?.values() ?? [])];
  if (!told) return void fault('nothing was told');
  const text = (news) => JSON.stringify(news.map(({ offset, status, id }) => [offset, status, id]));
  for (const other of others)
    if (text(other) !== text(told)) fault(`one is told ${text(told)}, another ${text(other)}`);
  const absences = record.absences(user);
  const choices = [{ status: 'online', sent: 0, answered: 0 }, ...record.chosen.get(user)];
  /**
   * By when what is due at `at` is told, of what was so since `from`: a pod that ended in between may have had it, and was the one to tell. A pod
   * that died before counts its users as there until its lease is over, so that it holds up what says that they are gone.
   */
  const until = (at, from, lookBack = 0) => {
    let latest = at;
    for (const end of ends) {
      const since = from - 1_000 - (end.how === 'SIGKILL' ? lookBack : 0);
      if (end.at >= since && end.at <= latest + times.slack)
        latest = Math.max(latest, end.at + times.lease * 1.25 + times.debounce);
    }
    return latest + times.slack;
  };
  /** What was chosen, told and so in the time before. */
  const account = (at) => {
    const near = (time) => time > at - 40_000 && time <= at + 5_000;
    const chose = choices.filter(({ sent }) => near(sent));
    return `; ${JSON.stringify({
      chose: chose.map((one) => [one.status, one.sent - began, one.answered - began]),
      told: told.filter(({ time }) => near(time)).map(({ status, time }) => [status, time - began]),
      gone: absences.filter(({ from }) => near(from)).map(({ from, to }) => [from - began, to - began]),
    })}`;
  };
  let before;
  let choice = 0;
  const long = absences.filter(({ from, to }) => to - from >= times.debounce - 250);
  for (const { status, id, time } of told) {
    if (before && !(id > before.id)) fault(`${id} behind ${before.id}`);
    if (before?.status === status) fault(`${status} is told twice`);
    if (status === 'offline') {
      const fits = ({ from, to }) => time >= from + times.debounce - 250 && time <= to + times.slack;
      if (!absences.some(fits)) fault(`offline at ${time - began}, which it was not`);
    } else {
      const next = choices.findLastIndex((one) => one.status === status && one.sent <= time + 250);
      if (next < choice) fault(`${status} at ${time - began}: it did not choose that, or before what was told last`);
      choice = Math.max(choice, next);
      const newer = choices[choice + 1];
      if (newer?.answered && until(newer.answered, newer.sent) < time)
        fault(`${status} at ${time - began}: it had chosen ${newer.status}`);
    }
    before = { status, id };
  }
  const view = (at) => told.findLast(({ time }) => time <= at)?.status;
  // Away for long enough: offline, once. `told` says it at most once in a row, so that one in that time is enough.
  for (const { from, to } of absences) {
    const due = until(from + times.debounce, from, times.lease * 1.25);
    if (from > 0 && due < Math.min(to, over) && view(due) !== 'offline')
      fault(`gone at ${from - began}, shown as ${view(due)} at ${due - began}${account(due)}`);
  }
  // Whatever stood for long enough, while it was there, is shown.
  const wasHere = (from, to) => long.every((gone) => gone.to < from || gone.from + times.debounce - 250 > to);
  for (const [n, { status, answered }] of choices.entries()) {
    const next = choices[n + 1]?.sent ?? over;
    const since = long.findLast(({ from }) => from < next)?.to ?? 0;
    const stands = Math.max(answered ?? next, since, began);
    const due = until(stands, stands);
    if (answered !== null && due < next && wasHere(due - 1, next) && since < due && view(next - 1) !== status)
      fault(`chose ${status}, shown as ${view(next - 1)} at ${next - began}${account(next)}`);
  }
}
