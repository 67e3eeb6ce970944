// A real PostgreSQL in a folder of its own, on a free port of 127.0.0.1. `initdb` refuses to run as root: root runs it as `postgres` or `nobody`.

import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePorts } from './ports.js';
import { Process, run, until } from './process.js';

const USER = 'roomcast';
const DEBIAN = '/usr/lib/postgresql';

/** A program of the newest version here: of `POSTGRES_BIN`, or where Debian has them, or on the path. */
function program(name) {
  if (process.env.POSTGRES_BIN) return join(process.env.POSTGRES_BIN, name);
  try {
    const versions = readdirSync(DEBIAN).map(Number);
    return join(DEBIAN, String(Math.max(...versions.filter((version) => version >= 15))), 'bin', name);
  } catch {
    return name;
  }
}

/** What runs a command as somebody who is not root, in the same process. */
function asItsUser() {
  if (process.getuid() !== 0) return ['env'];
  const user = /^postgres:/m.test(readFileSync('/etc/passwd', 'utf8')) ? 'postgres' : 'nobody';
  return ['setpriv', '--reuid', user, '--regid', user === 'nobody' ? 'nogroup' : user, '--clear-groups'];
}

export class Postgres {
  /** Starts one that answers; `settings` are lines of its configuration. It does not flush to the disk unless they say so. */
  static async start(...settings) {
    const postgres = new Postgres();
    [postgres.port] = await freePorts(1);
    postgres.folder = await mkdtemp(join(tmpdir(), 'roomcast-postgres-'));
    await chmod(postgres.folder, 0o777);
    const data = join(postgres.folder, 'data');
    const [as, ...args] = asItsUser();
    const made = await run(
      as,
      [...args, program('initdb'), '-D', data, '-A', 'trust', '-U', USER, '-E', 'UTF8', '--locale=C', '--no-sync'],
      { cwd: '/' },
    );
    if (made.code !== 0) throw new Error(`initdb: ${made.stderr}`);
    const lines = ['fsync=off', 'unix_socket_directories=', 'max_connections=200', 'shared_buffers=64MB', ...settings];
    postgres.running = new Process(
      as,
      [...args, program('postgres'), '-D', data, '-p', String(postgres.port), '-h', '127.0.0.1'].concat(
        lines.flatMap((line) => ['-c', line]),
      ),
      { cwd: '/' },
    );
    const answers = async () => postgres.running.ended || (await postgres.#psql('postgres', 'SELECT 1')).code === 0;
    await until(answers, 20_000, () => `PostgreSQL does not answer; it said:\n${postgres.running.log}`);
    if (postgres.running.ended) throw new Error(`PostgreSQL did not start: ${postgres.running.log}`);
    return postgres;
  }

  #psql(database, statement) {
    const args = ['--no-psqlrc', '-qAt', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-U', USER];
    const env = { ...process.env, PGCONNECT_TIMEOUT: '5' };
    return run(program('psql'), [...args, '-p', String(this.port), '-d', database, '-c', statement], { env });
  }

  /** What a statement says: a line a row, its columns with `|` between them. */
  async sql(database, statement) {
    const { code, stdout, stderr } = await this.#psql(database, statement);
    if (code !== 0) throw new Error(`${statement}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** An empty database, and its address. */
  async database(name) {
    await this.sql('postgres', `CREATE DATABASE ${name}`);
    return `postgres://${USER}@127.0.0.1:${this.port}/${name}`;
  }

  /** Ends it at once, as SIGQUIT does; its files go. */
  async stop() {
    this.running.signal('SIGQUIT');
    await this.running.exit;
    await rm(this.folder, { recursive: true, force: true });
  }
}
