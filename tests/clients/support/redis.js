// A real Redis on a port of its own, alone or as a cluster, and its own command line to publish with.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Three masters without replicas. */
export class RedisCluster {
  static async start() {
    const cluster = new RedisCluster();
    cluster.nodes = await Promise.all([0, 1, 2].map(() => Redis.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000')));
    cluster.url = cluster.nodes.map(({ port }) => `redis-cluster://127.0.0.1:${port}`).join(',');
    await run('redis-cli', ['--cluster', 'create', ...cluster.nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes']);
    for (const node of cluster.nodes) {
      for (let tries = 0; !(await node.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'); tries++) {
        if (tries > 200) throw new Error('the cluster does not come up');
        await sleep(50);
      }
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
    const server = createServer();
    await new Promise((listening, failed) => server.once('error', failed).listen(0, '127.0.0.1', listening));
    redis.port = server.address().port;
    await new Promise((closed) => server.close(closed));
    redis.folder = await mkdtemp(join(tmpdir(), 'roomcast-redis-'));
    const args = ['--port', redis.port, '--bind', '127.0.0.1', '--save', '', '--dir', redis.folder, ...more];
    redis.process = spawn('redis-server', args.map(String), { stdio: 'ignore' });
    redis.ended = new Promise((ended) => redis.process.once('exit', ended));
    redis.url = `redis://127.0.0.1:${redis.port}`;
    for (let tries = 0; (await redis.cli('PING').catch(() => '')) !== 'PONG'; tries++) {
      if (tries > 200) throw new Error('redis-server does not answer');
      await sleep(50);
    }
    return redis;
  }

  /** What `redis-cli` prints. */
  async cli(...args) {
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', this.port, ...args].map(String));
    return stdout.trim();
  }

  async stop() {
    this.process.kill('SIGKILL');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}
