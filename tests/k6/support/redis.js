// A Redis server of the test's own.

import { freePorts } from '../../chart/support/ports.js';
import { Process, until } from './process.js';

export async function redis() {
  const [port] = await freePorts(1);
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--daemonize', 'no'];
  const server = new Process('redis-server', args);
  server.port = port;
  server.url = `redis://127.0.0.1:${port}`;
  await until(() => server.log.includes('Ready to accept connections') || server.ended, 10_000, () => server.log);
  if (server.ended) throw new Error(`redis-server did not start: ${server.log}`);
  return server;
}
