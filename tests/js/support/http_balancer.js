// A balancer without sticky sessions: each request, and each WebSocket, goes to the next server in turn.

import { createServer, request } from 'node:http';
import { connect } from 'node:net';

export async function balance(ports) {
  const servers = [...ports];
  let turn = 0;
  const next = () => servers[turn++ % servers.length];
  const counts = new Map();
  const taken = (port) => (counts.set(port, (counts.get(port) ?? 0) + 1), port);
  const server = createServer((req, res) => {
    const port = taken(next());
    const onward = request(
      { host: '127.0.0.1', port, method: req.method, path: req.url, headers: req.headers },
      (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.pipe(res);
      },
    );
    onward.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end()));
    res.on('close', () => onward.destroy());
    req.pipe(onward);
  });
  server.on('upgrade', (req, socket, head) => {
    const onward = connect(taken(next()), '127.0.0.1', () => {
      const lines = [`${req.method} ${req.url} HTTP/1.1`];
      for (let n = 0; n < req.rawHeaders.length; n += 2) lines.push(`${req.rawHeaders[n]}: ${req.rawHeaders[n + 1]}`);
      onward.write(`${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    for (const [one, other] of [
      [onward, socket],
      [socket, onward],
    ])
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    counts,
    remove(port) {
      servers.splice(servers.indexOf(port), 1);
    },
    add(port) {
      servers.push(port);
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
