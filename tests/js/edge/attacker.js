// One attack as a program of its own, so that it takes no time from what measures: node attacker.js NAME PORT TLS_PORT SINCE [RATE].
// It says an empty line when its first socket is open, ends when its input does, and says as JSON what it did.

import net from 'node:net';

import { attacks } from './attacks.js';

const [name, port, tlsPort, position, faster] = process.argv.slice(2);
const attack = attacks[name];
const rate = Number(faster ?? attack.rate);
const most = faster ? rate : attack.sockets;
const since = JSON.parse(position);
const aim = { host: '127.0.0.1', port: Number(attack.tls ? tlsPort : port), allowHalfOpen: true };
const sockets = new Set();
const did = { opened: 0, refused: 0, ended: 0, sent: 0 };
let turns = 0;
let begun = false;

function open() {
  did.opened++;
  const socket = net.connect(aim);
  sockets.add(socket);
  socket.on('error', () => {});
  socket.once('end', () => socket.destroy());
  socket.once('close', () => {
    did[socket.bytesWritten > 0 || socket.bytesRead > 0 ? 'ended' : 'refused']++;
    sockets.delete(socket);
  });
  socket.once('connect', () => {
    if (!begun) process.stdout.write('\n');
    begun = true;
    if (attack.deaf) socket.pause();
    else socket.resume();
    if (attack.greet) write(socket, attack.greet(since));
    if (attack.brief) setTimeout(() => socket.resetAndDestroy(), attack.every ?? 50);
  });
}

function write(socket, bytes) {
  // What the pod does not take is not piled up here.
  if (socket.destroyed || socket.writableLength > 1 << 20) return;
  did.sent++;
  socket.write(bytes);
}

const TICK = 20;
let allowed = 0;
setInterval(() => {
  allowed = Math.min(allowed + (rate * TICK) / 1_000, rate);
  for (; allowed >= 1 && sockets.size < most; allowed--) open();
}, TICK);
if (attack.again) {
  setInterval(() => {
    turns++;
    const bytes = attack.again(turns, since);
    if (bytes.length > 0) for (const socket of sockets) if (!socket.connecting) write(socket, bytes);
  }, attack.every);
}
process.stdin.resume().once('end', () => {
  const open = sockets.size;
  for (const socket of sockets) socket.resetAndDestroy();
  process.stdout.write(JSON.stringify({ ...did, open }), () => process.exit());
});
