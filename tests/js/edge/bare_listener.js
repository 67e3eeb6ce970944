// Listeners that accept and close, as programs of their own: what an attack costs the machine without a pod behind it.
// node bare_listener.js PORT...

import net from 'node:net';

for (const port of process.argv.slice(2)) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
    socket.end();
  });
  server.listen(Number(port), '127.0.0.1', 4_096);
}
