// Clients of Socket.IO in rooms: the unmodified client, what it has seen, and a session whose pod is killed.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { io } from './socketio.js';

export const PATIENCE = 30_000;

export const once = (emitter, event) =>
  new Promise((happened, failed) => {
    const timer = setTimeout(() => failed(new Error(`no ${event} within ${PATIENCE} ms`)), PATIENCE);
    emitter.once(event, (...args) => (clearTimeout(timer), happened(args)));
  });

export const until = async (holds, what) => {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(20)) if (await holds()) return;
  throw new Error(`${typeof what === 'function' ? what() : what}, after ${PATIENCE} ms`);
};

export const connected = (socket) => until(() => socket.connected, 'a connection');

/** A client that collects the `n` of each event, by room. */
export async function client(url, options = {}) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  socket.seen = {};
  socket.on('events', ({ room, events }) => {
    for (const { data, data64 } of events) (socket.seen[room] ??= []).push(data?.n ?? data ?? data64);
  });
  socket.once('welcome', (welcome) => (socket.welcome = welcome));
  await connected(socket);
  return socket;
}

export async function join(socket, ...names) {
  for (const room of names) {
    const reply = await socket.timeout(PATIENCE).emitWithAck('subscribe', { room });
    assert.equal(reply.type, 'subscribed', JSON.stringify(reply));
  }
}

/** Cuts a client off, and keeps it from coming back by itself. */
export async function drop(socket) {
  socket.io.reconnection(false);
  const gone = once(socket, 'disconnect');
  socket.io.engine.close();
  await gone;
}

export async function back(socket) {
  socket.io.reconnection(true);
  socket.connect();
  await connected(socket);
}

export const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

/** A session in three rooms whose pod is killed: it comes back on another one, and nothing is lost. */
export async function survives(transports, { start, pods, balancer }) {
  const names = ['r1', 'r2', 'r3'].map((room) => `plain:${transports.join('-')}-${room}`);
  const victim = await start();
  balancer.remove(pods[0].plainPort);
  balancer.remove(pods[1].plainPort);
  balancer.add(victim.plainPort);
  const socket = await client(balancer.url, { transports });
  await join(socket, ...names);
  for (const n of numbers(0, 5)) for (const room of names) await pods[0].publish(room, { n });
  await until(
    () => names.every((room) => socket.seen[room]?.length === 5),
    () => JSON.stringify(socket.seen),
  );
  const id = socket.id;
  await sleep(300);
  const reasons = [];
  socket.on('disconnect', (reason) => reasons.push(reason));
  const gone = once(socket, 'disconnect');
  socket.io.reconnection(false);
  balancer.remove(victim.plainPort);
  for (const pod of pods) balancer.add(pod.plainPort);
  victim.process.kill('SIGKILL');
  await victim.exit;
  for (const n of numbers(5, 10)) for (const room of names) await pods[1].publish(room, { n });
  await gone;
  await back(socket);
  assert.deepEqual([socket.recovered, socket.id], [true, id]);
  for (const room of names) await pods[0].publish(room, { n: 10 });
  await until(
    () => names.every((room) => socket.seen[room].includes(10)),
    () => JSON.stringify(socket.seen),
  );
  for (const room of names) {
    // Nothing is lost, and the first of each is in order; other rooms than the last one's may repeat some.
    assert.deepEqual(
      socket.seen[room].filter((n, at, all) => all.indexOf(n) === at),
      numbers(0, 11),
      room,
    );
  }
  assert.equal(reasons.length, 1, `one disconnect: ${reasons}`);
  assert.deepEqual(socket.seen[names[2]], numbers(0, 11), 'the room of the last event has no duplicate');
  socket.close();
}
