// A k6 script, run as its README says.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Process } from './process.js';

const scripts = fileURLToPath(new URL('../../../bench/k6/', import.meta.url));

/**
 * Runs a script with variables. Resolves with its exit `code`, what it `said`, its summary (`result`), the text of its HTML page,
 * and with LOG=1 the `steps` of its clients.
 */
export async function k6(script, variables) {
  const out = await mkdtemp(join(tmpdir(), 'roomcast-k6-'));
  try {
    const console = join(out, 'console.log');
    const flags = Object.entries({ OUT: out, ...variables }).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
    // Several at once: without the control port of each, which would be the same.
    const more = ['--address', '', '--quiet', '--no-usage-report', '--log-format', 'raw', '--console-output', console];
    const env = { PATH: process.env.PATH, HOME: out };
    const run = new Process('k6', ['run', ...more, ...flags, join(scripts, `${script}.js`)], { env, cwd: out });
    const { code } = await run.exit;
    const read = (name) => readFile(join(out, name), 'utf8').catch(() => '');
    const name = `${script}-${variables.DIALECT ?? 'native'}`;
    const json = await read(`${name}.json`);
    const lines = (await read('console.log')).split('\n').filter((line) => line !== '');
    const steps = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    const said = `${run.log}\n${lines.filter((line) => !line.startsWith('{')).join('\n')}`;
    return { code, said, result: json && JSON.parse(json), html: await read(`${name}.html`), steps };
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}
