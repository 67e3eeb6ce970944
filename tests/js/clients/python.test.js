// Python's clients: `websockets` with its own compression settings (`python_client.py`), `python-socketio` whose connections are cut
// (`python_socketio.py`). They talk, this file starts and judges them.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';
import { Balancer } from '../support/tcp_balancer.js';

const script = fileURLToPath(new URL('python_client.py', import.meta.url));

let pod;
before(async () => (pod = await Pod.start({ config: `${rooms}\n[socketio]\nenabled = true\n` })));
after(() => pod?.stop());

const offers = {
  none: null,
  default: {},
  'no-takeover': { server_no_context_takeover: true, client_no_context_takeover: true },
  'server-9': { server_max_window_bits: 9 },
  'client-9': { client_max_window_bits: 9 },
};
for (const [name, offer] of Object.entries(offers)) {
  test(`compression: ${name}`, async () => {
    const { stdout } = await promisify(execFile)(
      process.env.PYTHON ?? 'python3',
      [script, pod.tlsUrl, `open:python-${name}`, JSON.stringify(offer)],
      { timeout: 30_000 },
    );
    const said = JSON.parse(stdout);
    assert.equal(said.subprotocol, 'roomcast.v1');
    assert.deepEqual(said.extensions, offer ? ['permessage-deflate'] : []);
    assert.equal(said.received, 40);
    assert.deepEqual(said.close, [1000, '']);
  });
}

for (const transport of ['polling', 'websocket']) {
  test(`python-socketio over ${transport} comes back after a cut`, { timeout: 60_000 }, async () => {
    const balancer = await new Balancer().listen();
    balancer.endpoints.add(pod.plainPort);
    const client = spawn(
      process.env.PYTHON ?? 'python3',
      [fileURLToPath(new URL('python_socketio.py', import.meta.url)), `http://127.0.0.1:${balancer.port}`, transport],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      const ended = once(client, 'exit');
      await once(createInterface(client.stdout), 'line');
      // By now it waits in a poll, or soon will: what is cut comes back in any case.
      await sleep(300);
      balancer.cut();
      assert.deepEqual(await ended, [0, null]);
    } finally {
      client.kill('SIGKILL');
      await balancer.close();
    }
  });
}
