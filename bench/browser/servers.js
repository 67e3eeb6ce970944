// The servers that the clients of a page belong to: each started alone, with its defaults but for what 1,000 rooms on a connection need.
//
// Always holds: an event is the same JSON for all of them, published in batches by the API that each has; nothing is left running.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Pod } from '../../tests/js/support/pod.js';
import { freePorts } from '../../tests/js/support/ports.js';
import { Process, status, until } from '../../tests/js/support/process.js';

const CENTRIFUGO = 'centrifugo-v6.9.1';

async function post(url, headers, body) {
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await answer.text();
  if (answer.status !== 200 || text.includes('"error"')) throw new Error(`${url}: ${answer.status} ${text}`);
}

/** A pod; `compress_from` is its policy's. */
export const roomcast = (compressFrom) => async (rooms, origin) => {
  const config = `origins = ["${origin}"]
[limits]
max_rooms = ${rooms}
command_burst = ${2 * rooms}
[default_policy]
compress_from = ${compressFrom}
`;
  const pod = await Pod.start({ config, tls: false });
  const headers = { authorization: `Bearer ${Pod.key}` };
  return {
    url: `http://127.0.0.1:${pod.plainPort}`,
    publish: (events) =>
      post(`${pod.internal}/api/broadcast`, headers, {
        publications: events.map((data) => ({ room: data.room, topic: 'event', data })),
      }),
    end: () => pod.end(10_000),
  };
};

/** Centrifugo as `roomcast-bench peers` has it, with its broker in memory. That command builds it. */
export async function centrifugo(rooms) {
  const folder = process.env.TEST_TOOLS ?? join(homedir(), '.cache/roomcast');
  const [port] = await freePorts(1);
  const config = JSON.parse(await readFile(new URL('../peers/centrifugo/config.json', import.meta.url)));
  Object.assign(config.client, { channel_limit: rooms });
  Object.assign(config.http_server, { port: `${port}` });
  const file = join(tmpdir(), `centrifugo-${port}.json`);
  await writeFile(file, JSON.stringify(config));
  const url = `http://127.0.0.1:${port}`;
  const running = new Process(join(folder, 'bin', CENTRIFUGO), ['--config', file]);
  const end = async () => {
    await running.stop();
    await rm(file);
  };
  await answers(running, `${url}/connection/websocket`, end);
  return {
    url,
    publish: (events) =>
      post(
        `${url}/api/batch`,
        { 'x-api-key': config.http_api.key },
        { parallel: false, commands: events.map((data) => ({ publish: { channel: data.room, data } })) },
      ),
    end,
  };
}

/** socket.io of tests/js behind an API as an application would write it. */
export async function socketio() {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const running = new Process(process.execPath, [fileURLToPath(new URL('socketio.js', import.meta.url)), `${port}`]);
  const end = () => running.stop();
  await answers(running, `${url}/publish`, end);
  return { url, publish: (events) => post(`${url}/publish`, {}, events), end };
}

async function answers(running, url, end) {
  const isUp = async () => running.ended || (await status(url)) > 0;
  try {
    await until(isUp, 15_000, 'it does not answer');
    if (running.ended) throw new Error('it ended');
  } catch (error) {
    await end();
    throw new Error(`${running.program}: ${error.message}; it said:\n${running.log}`);
  }
}
