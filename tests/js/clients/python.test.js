// Python `websockets`, with its own compression settings: `python_client.py` talks, this file starts and judges it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { rooms } from '../support/config.js';
import { Pod } from '../support/pod.js';

const script = fileURLToPath(new URL('python_client.py', import.meta.url));

let pod;
before(async () => (pod = await Pod.start({ config: rooms })));
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
