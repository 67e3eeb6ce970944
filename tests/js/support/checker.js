// What was published against what each client saw, looked at afterwards. Takes no part in a run.
//
// An event is *acknowledged* when its publish was answered with a position. It is *lost* for a client that joined before it, if
// the client neither saw it nor was told (`gap`, `recovered: false`).

/**
 * Judges the steps that bench/k6 logs. In `lost`, `duplicated`, `reordered` and `silent` stands a line for each fault.
 * One epoch is expected for each room: nothing happens to Redis here.
 */
export function check(steps) {
  const verdict = {
    lost: [],
    duplicated: [],
    reordered: [],
    silent: [],
    told: 0,
    deliveries: 0,
    clients: 0,
    acknowledged: 0,
  };
  const logs = new Map(); // room -> offset -> id
  const epochs = new Map();
  for (const { step, room, id, epoch, offset } of steps) {
    if (step !== 'published') continue;
    verdict.acknowledged++;
    const log = logs.get(room) ?? logs.set(room, new Map()).get(room);
    if (log.has(offset))
      verdict.duplicated.push(`${room}: ${id} and ${log.get(offset)} were both answered with ${offset}`);
    log.set(offset, id);
    const known = epochs.get(room) ?? epochs.set(room, epoch).get(room);
    if (known !== epoch) verdict.silent.push(`${room}: the epoch changed from ${known} to ${epoch}`);
  }
  const clients = new Map();
  for (const step of steps) {
    if (step.client) (clients.get(step.client) ?? clients.set(step.client, []).get(step.client)).push(step);
  }
  for (const [client, own] of clients) {
    verdict.clients++;
    follow(client, own, logs.get(own[0].room) ?? new Map(), verdict);
  }
  return verdict;
}

function follow(client, steps, log, verdict) {
  let position = null;
  let owed = null; // every acknowledged event after this offset is owed, but for what was told
  const seen = new Set();
  const told = [];
  for (const { step, epoch, after, offset, recovered, events } of steps) {
    switch (step) {
      case 'subscribed':
        if (position === null) owed = offset;
        else if (!recovered) {
          verdict.told++;
          told.push([position.offset, offset]);
        } else if (offset !== position.offset || epoch !== position.epoch) {
          verdict.silent.push(`${client}: recovered at ${offset}, stood at ${position.offset}`);
        }
        position = { epoch, offset };
        break;
      case 'gap':
        verdict.told++;
        told.push([after, offset]);
        position = { epoch, offset };
        break;
      case 'events': {
        if (after !== position.offset)
          verdict.silent.push(`${client}: events after ${after}, stood at ${position.offset}`);
        let last = position.offset;
        for (const [at, id] of events) {
          verdict.deliveries++;
          if (seen.has(id)) verdict.duplicated.push(`${client}: ${id} again at ${at}`);
          else if (at <= last) verdict.reordered.push(`${client}: ${id} at ${at} after ${last}`);
          if (log.has(at) && log.get(at) !== id)
            verdict.silent.push(`${client}: ${id} at ${at}, where ${log.get(at)} is`);
          seen.add(id);
          last = Math.max(last, at);
        }
        position = { epoch, offset };
        break;
      }
      default:
    }
  }
  if (owed === null) {
    verdict.lost.push(`${client}: was never in its room`);
    return;
  }
  for (const [at, id] of log) {
    const excused = told.some(([from, to]) => at > from && at <= to);
    if (at > owed && !seen.has(id) && !excused) verdict.lost.push(`${client}: ${id} at ${at}`);
  }
}
