// Clients' addresses: what a trusted proxy says of them, which may come, and how much one may do.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { Pod } from '../support/pod.js';
import { Raw } from '../support/raw.js';

const upgrade = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const request = (path, ...lines) => [`GET ${path} HTTP/1.1`, 'Host: localhost', ...lines, '', ''].join('\r\n');

/** A header of version 2 for a client. */
function version2(address, port) {
  const body = Buffer.from([...address.split('.').map(Number), 10, 0, 0, 1, port >> 8, port & 255, 0, 80]);
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n'), Buffer.from([0x21, 0x11, 0, body.length]), body]);
}

const addresses = async (pod) => {
  const { text } = await pod.curl('/api/connections', '-H', `Authorization: Bearer ${Pod.key}`);
  return JSON.parse(text).connections.map(({ address }) => address);
};

describe('behind a proxy that speaks the PROXY protocol', () => {
  let pod;
  before(async () => {
    pod = await Pod.start({
      config: `[addresses]
trusted_proxies = ["127.0.0.0/8"]
proxy_protocol = true
max_connections = 2
deny = ["198.51.100.0/24"]
`,
    });
  });
  after(() => pod?.stop());

  test('a connection has the address that either version names, with TLS and without', async () => {
    const plain = await Raw.connect(pod.plainPort);
    plain.send(`PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n${request('/ws', ...upgrade)}`);
    assert.equal((await plain.head()).status, 101);
    const socket = net.connect(pod.port, '127.0.0.1');
    socket.write(version2('192.0.2.8', 4712));
    const secure = tls.connect({ socket, servername: 'localhost', rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    secure.write(request('/ws', ...upgrade));
    const [answer] = await once(secure, 'data');
    assert.match(`${answer}`, /^HTTP\/1.1 101 /);
    assert.deepEqual((await addresses(pod)).sort(), ['192.0.2.7:4711', '192.0.2.8:4712']);
    plain.socket.destroy();
    secure.destroy();
  });

  test('one address has as many connections as it may, and others have theirs', async () => {
    const open = async (address) => {
      const raw = await Raw.connect(pod.plainPort);
      raw.send(`PROXY TCP4 ${address} 10.0.0.1 1 80\r\n${request('/ws', ...upgrade)}`);
      const { status, headers } = await raw.head();
      if (status === 503) assert.ok(headers['retry-after']);
      return { raw, status };
    };
    const all = [];
    for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2']) all.push(await open(address));
    assert.deepEqual(
      all.map(({ status }) => status),
      [101, 101, 503, 101],
    );
    for (const { raw } of all) raw.socket.destroy();
  });

  test('without a header, and from a denied network, nothing is answered', async () => {
    for (const first of ['', 'PROXY nonsense\r\n', 'PROXY TCP4 198.51.100.9 10.0.0.1 1 80\r\n']) {
      const raw = await Raw.connect(pod.plainPort);
      raw.send(first + request('/ws', ...upgrade));
      await raw.gone;
      await assert.rejects(raw.head(), undefined, first);
    }
  });
});

describe('behind a proxy that speaks HTTP', () => {
  let pod;
  before(async () => {
    pod = await Pod.start({
      config: `[addresses]
trusted_proxies = ["127.0.0.1"]
requests_per_second = 1
request_burst = 3
deny = ["198.51.100.0/24"]
`,
    });
  });
  after(() => pod?.stop());

  const ask = async (client, path, ...lines) => {
    const raw = await Raw.connect(pod.plainPort);
    raw.send(request(path, `X-Forwarded-For: 203.0.113.1, ${client}`, ...lines));
    return { raw, ...(await raw.head()) };
  };

  test('a connection has the address of the last hop that is not trusted', async () => {
    const { raw, status } = await ask('192.0.2.7', '/ws', ...upgrade);
    assert.equal(status, 101);
    assert.deepEqual(await addresses(pod), ['192.0.2.7']);
    raw.socket.destroy();
  });

  test('requests of one address have a rate, of each path, and others have theirs', async () => {
    const statuses = [];
    for (const [path, lines] of [
      ['/nothing', []],
      ['/poll?room=a', []],
      ['/ws', upgrade],
      ['/ws', upgrade],
      ['/nothing', []],
    ]) {
      const { raw, status } = await ask('192.0.2.9', path, ...lines);
      raw.socket.destroy();
      statuses.push(status);
    }
    // A second that passes meanwhile gives one more.
    assert.deepEqual(statuses.slice(0, 3), [404, 200, 101]);
    assert.ok(statuses.slice(3).includes(429), `${statuses}`);
    assert.equal((await ask('192.0.2.10', '/nothing')).status, 404);
  });

  test('a denied network is answered with 403', async () => {
    assert.equal((await ask('198.51.100.9', '/ws', ...upgrade)).status, 403);
    assert.equal((await ask('198.51.100.9', '/nothing')).status, 403);
  });
});

test('TCP connections of one address have a rate, and the internal listener does not', async () => {
  const pod = await Pod.start({ config: '[addresses]\nhandshakes_per_second = 1\nhandshake_burst = 5\n' });
  const all = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const raw = await Raw.connect(pod.plainPort);
      raw.send(request('/nothing'));
      return raw.head().then(
        ({ status }) => status,
        () => 'closed',
      );
    }),
  );
  assert.ok(all.filter((status) => status === 404).length >= 5, `${all}`);
  assert.ok(all.includes('closed'), `${all}`);
  for (let n = 0; n < 20; n++) assert.equal((await pod.curl('/health')).status, 200);
  await pod.stop();
});
