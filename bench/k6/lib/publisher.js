// Publishes as a backend does: over HTTP, or with Redis' own PUBLISH for trips. Numbers its events of each room, and publishes one
// after the other, so that a client sees what is missing.

import http from 'k6/http';
import exec from 'k6/execution';

import * as measures from './measures.js';
import { rooms, settings } from './settings.js';

const filler = 'roomcast '.repeat(Math.ceil(settings.filler / 9)).slice(0, settings.filler);
const numbers = {};
/** Of this run and VU: an idempotency key of an earlier run would be answered, and publish nothing. */
const publisher = `p${Math.random().toString(36).slice(2, 10)}`;
let turn = null;
// Loaded only where it is wanted: later versions of k6 have it as an extension.
const redis = settings.redis ? require('k6/experimental/redis') : null;
const client = redis && new (redis.default || redis).Client(settings.redis);

/** What trips' registry knows and does not conflate; elsewhere any topic does. */
const TOPIC = { native: 'load', socketio: 'load', trips: 'comment.created' }[settings.dialect];

/** One event, to the rooms in turn. */
export async function publish() {
  turn = turn === null ? exec.vu.idInTest : turn + 1;
  const room = rooms[turn % rooms.length];
  const number = (numbers[room] = (numbers[room] || 0) + 1);
  const data = { publisher, number, filler, sent: Date.now() };
  const began = Date.now();
  const done = await (client ? throughRedis(room, data) : overHttp(room, data, `${publisher}-${room}-${number}`));
  if (done) {
    measures.published.add(1);
    measures.publish.add(Date.now() - began);
  } else {
    measures.publishErrors.add(1);
  }
}

/** Repeated with the same key where the outcome is unknown, or a pod went away: it is one event. */
async function overHttp(room, data, id) {
  const body = JSON.stringify({ room, topic: TOPIC, data, id, idempotency_key: id });
  const params = {
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${settings.apiKey}` },
    timeout: '5s',
    tags: { name: 'publish' },
  };
  for (let attempt = 1; attempt <= 5; attempt++) {
    const answer = http.post(`${settings.api}/api/publish`, body, params);
    if (answer.status === 200) {
      if (settings.log) {
        const { epoch, offset } = answer.json();
        console.log(JSON.stringify({ at: Date.now(), step: 'published', room, id, epoch, offset }));
      }
      return true;
    }
    if (answer.status !== 0 && answer.status < 500) {
      console.error(`publish: ${answer.status} ${answer.body}`);
      return false;
    }
    await new Promise((done) => setTimeout(done, 100 * attempt));
  }
  return false;
}

async function throughRedis(room, data) {
  try {
    await client.sendCommand('PUBLISH', room, JSON.stringify({ topic: TOPIC, data }));
    return true;
  } catch (error) {
    console.error(`publish: ${error}`);
    return false;
  }
}
