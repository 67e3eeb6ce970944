// A real Redis on a port of its own, alone or as a cluster, and its own command line to publish with.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { freePorts } from './ports.js';
import { Process, until } from './process.js';

const run = promisify(execFile);

/** Three masters without replicas. */
export class RedisCluster {
  static async start() {
    const cluster = new RedisCluster();
    cluster.nodes = await Promise.all(
      [0, 1, 2].map(() => Redis.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000')),
    );
    cluster.url = cluster.nodes.map(({ port }) => `redis-cluster://127.0.0.1:${port}`).join(',');
    await run('redis-cli', [
      '--cluster',
      'create',
      ...cluster.nodes.map(({ port }) => `127.0.0.1:${port}`),
      '--cluster-yes',
    ]);
    for (const node of cluster.nodes) {
      const well = async () => (await node.cli('CLUSTER', 'INFO')).includes('cluster_state:ok');
      await until(well, 15_000, 'the cluster does not come up');
    }
    return cluster;
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

export class Redis {
  /** `more` are arguments of `redis-server`. */
  static async start(...more) {
    const redis = new Redis();
    const [port, bus] = await freePorts(2);
    redis.port = port;
    redis.folder = await mkdtemp(join(tmpdir(), 'roomcast-redis-'));
    const args = ['--port', redis.port, '--bind', '127.0.0.1', '--save', '', '--dir', redis.folder, ...more];
    // Otherwise it is the port and 10,000 more, which may be anybody's.
    if (more.includes('--cluster-enabled')) args.push('--cluster-port', bus);
    redis.running = new Process('redis-server', args.map(String));
    redis.url = `redis://127.0.0.1:${redis.port}`;
    const answers = async () => redis.running.ended || (await redis.cli('PING').catch(() => '')) === 'PONG';
    await until(answers, 15_000, () => `redis-server does not answer; it said:\n${redis.running.log}`);
    if (redis.running.ended) throw new Error(`redis-server did not start: ${redis.running.log}`);
    return redis;
  }

  /** What `redis-cli` prints. */
  async cli(...args) {
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', this.port, ...args].map(String));
    return stdout.trim();
  }

  /** The child process itself. */
  get process() {
    return this.running.child;
  }

  async stop() {
    this.running.signal('SIGKILL');
    await this.running.exit;
    await rm(this.folder, { recursive: true, force: true });
  }
}
