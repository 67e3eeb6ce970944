// Engine.IO and Socket.IO byte by byte: one script of raw requests and WebSocket messages, run against our server and
// against npm's, must log the same. Where we answer otherwise on purpose, the scenario says both.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import WebSocket from 'ws';

import { ours, theirs } from '../support/echo.js';

const PATIENCE = 30_000;

/** Session names and lengths of whatever differs by design. */
const normal = (text) =>
  text
    .replace(/"sid":"[^"]+"/g, '"sid":"S"')
    .replace(/"pid":"[^"]+"/g, '"pid":"P"')
    .replaceAll('\u001e', '<RS>');

class Wire {
  log = [];

  constructor(url, path) {
    this.url = url;
    this.path = path;
  }

  /** A request; logs status, type and body. Returns the body. */
  async http(method, query, { body, headers = {}, log = true } = {}) {
    const answer = await new Promise((resolve, reject) => {
      const req = request(`${this.url}${this.path}?${query}`, { method, headers }, (res) => {
        let text = '';
        res.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        res.on('end', () => resolve({ res, text }));
      });
      req.setTimeout(PATIENCE, () => req.destroy(new Error(`no answer to ${method} ${query}`)));
      req.on('error', reject).end(body);
    });
    const { res, text } = answer;
    if (log) {
      const type = (res.headers['content-type'] ?? '').toLowerCase();
      this.log.push([method, res.statusCode, type, normal(text)]);
    }
    return { text, status: res.statusCode, headers: res.headers };
  }

  async open(log = true) {
    const { text } = await this.http('GET', 'EIO=4&transport=polling', { log });
    this.sid = JSON.parse(text.slice(1)).sid;
    return this.sid;
  }

  poll(options) {
    return this.http('GET', `EIO=4&transport=polling&sid=${this.sid}`, options);
  }

  push(body, options) {
    return this.http('POST', `EIO=4&transport=polling&sid=${this.sid}`, { body, ...options });
  }

  /** A WebSocket whose messages are logged. */
  async ws(query = 'EIO=4&transport=websocket') {
    const ws = new WebSocket(`${this.url.replace('http', 'ws')}${this.path}?${query}`);
    const seen = [];
    let tell = () => {};
    const saw = (entry) => (seen.push(entry), tell());
    ws.on('message', (data, binary) => saw(binary ? `binary ${data.toString('hex')}` : normal(data.toString())));
    ws.on('close', (code) => saw(`closed ${code}`));
    ws.on('unexpected-response', (_, res) => saw(`status ${res.statusCode}`));
    ws.on('error', () => {});
    ws.next = async () => {
      const deadline = Date.now() + PATIENCE;
      while (seen.length === 0) {
        assert.ok(Date.now() < deadline, 'nothing came over the WebSocket');
        await Promise.race([new Promise((told) => (tell = told)), sleep(50)]);
      }
      const entry = seen.shift();
      this.log.push(['ws', entry]);
      return entry;
    };
    if (!query.includes('sid')) await ws.next();
    else
      await Promise.race([
        new Promise((open) => ws.once('open', open)),
        new Promise((end) => ws.once('unexpected-response', end)),
      ]);
    return ws;
  }
}

/** Runs a script against both. */
function same(name, script, options = {}) {
  test(name, async () => {
    const path = options.engineOnly ? '/engine.io/' : '/socket.io/';
    const logs = [];
    for (const start of [theirs, ours]) {
      const server = await start(options);
      const wire = new Wire(server.url, path);
      try {
        await script(wire);
      } catch (error) {
        error.message += `\n${start.name}: ${JSON.stringify(wire.log)}`;
        throw error;
      } finally {
        await server.stop();
      }
      logs.push(wire.log);
    }
    assert.ok(logs[0].length > 0, 'the script logs nothing');
    assert.deepEqual(logs[1], logs[0]);
  });
}

describe('Engine.IO', () => {
  const engineOnly = true;

  same(
    'bad requests',
    async (wire) => {
      for (const query of [
        '',
        'EIO=4',
        'EIO=4&transport=abc',
        'EIO=3&transport=polling',
        'transport=polling',
        'EIO=4&transport=polling&sid=unknown',
        'EIO=4&transport=websocket',
      ]) {
        await wire.http('GET', query);
      }
      await wire.http('POST', 'EIO=4&transport=polling', { body: '4hello' });
      for (const query of ['EIO=4&transport=abc', 'EIO=4&transport=websocket&sid=unknown']) {
        const ws = new WebSocket(`${wire.url.replace('http', 'ws')}${wire.path}?${query}`);
        wire.log.push(
          await new Promise((end) => {
            ws.once('unexpected-response', (_, res) => end(`status ${res.statusCode}`)).on('error', () => {});
            ws.once('close', (code) => end(`closed ${code}`));
          }),
        );
      }
    },
    { engineOnly },
  );

  same(
    'polling: open, echo, binary, several packets in one body',
    async (wire) => {
      await wire.open();
      await wire.push('4hello');
      await wire.poll();
      await wire.push('4a\u001e4b\u001ebAQIDBA==');
      await wire.poll();
      await wire.push('4é✓𝄞');
      await wire.poll();
    },
    { engineOnly },
  );

  same(
    'polling: base64 in lines, without padding, or of the other alphabet',
    async (wire) => {
      await wire.open();
      // Java's client ends each line of 76 characters, and the last one, with a line feed.
      const lines = Buffer.alloc(60, 'x').toString('base64').replace(/.{76}/g, '$&\n');
      for (const base64 of [`${lines}\n`, 'AQID\n', 'AQ==\r\n', 'AQ', '-_8']) {
        await wire.push(`b${base64}`);
        await wire.poll();
      }
    },
    { engineOnly },
  );

  same(
    'a WebSocket whose client takes no binary messages',
    async (wire) => {
      for (const [query, sent] of [
        ['EIO=4&transport=websocket', 'bAQIDBA=='],
        ['EIO=4&transport=websocket&b64=1', 'bAQIDBA=='],
        ['EIO=4&transport=websocket&b64=1', Buffer.from([1, 2, 3, 4])],
      ]) {
        const ws = await wire.ws(query);
        ws.send(sent);
        await ws.next();
        ws.close();
        await ws.next();
      }
    },
    { engineOnly },
  );

  same(
    'a WebSocket: open, echo, binary',
    async (wire) => {
      const ws = await wire.ws();
      ws.send('4hello');
      await ws.next();
      ws.send(Buffer.from([1, 2, 3, 4]));
      await ws.next();
      ws.close();
      await ws.next();
    },
    { engineOnly },
  );

  same(
    'the server pings, and gives up',
    async (wire) => {
      const ws = await wire.ws();
      await ws.next();
      ws.send('3');
      await ws.next();
      ws.send('3');
      await ws.next();
      await ws.next();
      await wire.open();
      await wire.poll();
      await wire.push('3');
      await wire.poll();
      await sleep(1_000);
      await wire.poll();
    },
    { engineOnly, pingInterval: 300, pingTimeout: 200 },
  );

  same(
    'a poll that waits gets a noop when its client closes',
    async (wire) => {
      await wire.open();
      const waiting = wire.poll();
      await sleep(50);
      await wire.push('1', { log: false });
      await waiting;
      await wire.poll();
    },
    { engineOnly },
  );

  same(
    'malformed packets end the session',
    async (wire) => {
      for (const bad of ['abc', '', '9']) {
        const ws = await wire.ws();
        ws.send(bad);
        await ws.next();
      }
      // npm's server cuts the connection or answers 400, as it comes.
      await wire.open();
      await wire.push('abc', { log: false }).catch(() => {});
      await wire.poll();
    },
    { engineOnly },
  );

  same(
    'too large a body is 413',
    async (wire) => {
      await wire.open();
      const answer = await wire.push(`4${'x'.repeat(100_000)}`, { log: false }).catch((error) => error);
      wire.log.push(answer.status ?? 'cut');
    },
    { engineOnly, maxPayload: 10_000 },
  );

  same(
    'what breaks the WebSocket protocol itself is closed with its code',
    async (wire) => {
      const large = await wire.ws();
      large.send(`4${'x'.repeat(20_000)}`);
      await large.next();
      const garbled = await wire.ws();
      garbled.send(Buffer.from([0x34, 0xff]), { binary: false });
      await garbled.next();
    },
    { engineOnly, maxPayload: 10_000 },
  );

  same(
    'a second WebSocket for one session is accepted and closed, and changes nothing',
    async (wire) => {
      await wire.open();
      const query = `EIO=4&transport=websocket&sid=${wire.sid}`;
      const first = await wire.ws(query);
      first.send('2probe');
      await first.next();
      const early = await wire.ws(query);
      await early.next();
      first.send('5');
      first.send('4hello');
      await first.next();
      const late = await wire.ws(query);
      await late.next();
      first.send('4still here');
      await first.next();
    },
    { engineOnly },
  );

  same(
    'a WebSocket that does not probe is closed, and polling goes on',
    async (wire) => {
      await wire.open();
      const ws = await wire.ws(`EIO=4&transport=websocket&sid=${wire.sid}`);
      ws.send('4hello');
      await ws.next();
      await wire.push('4hello');
      await wire.poll();
    },
    { engineOnly },
  );

  same(
    'an upgrade: probe, noop, upgrade, and the old way is closed',
    async (wire) => {
      await wire.open();
      const ws = await wire.ws(`EIO=4&transport=websocket&sid=${wire.sid}`);
      const waiting = wire.poll();
      await sleep(50);
      ws.send('2probe');
      await ws.next();
      await waiting;
      ws.send('5');
      ws.send('4hello');
      await ws.next();
      const late = await wire.poll({ log: false });
      wire.log.push(['late poll', late.status]);
      ws.send('4still here');
      await ws.next();
    },
    { engineOnly },
  );

  test('a second poll ends the session: the first gets `1`, the second 400', async () => {
    const server = await ours({ engineOnly });
    const wire = new Wire(server.url, '/engine.io/');
    try {
      await wire.open();
      const first = wire.poll();
      await sleep(50);
      const second = await wire.poll();
      assert.deepEqual([(await first).text, (await first).status], ['1', 200]);
      assert.equal(second.status, 400);
      assert.equal((await wire.poll()).text, '{"code":1,"message":"Session ID unknown"}');
    } finally {
      await server.stop();
    }
  });

  test('a poll that is given up ends the session: nobody knows what it got', async () => {
    const server = await ours({ engineOnly });
    const wire = new Wire(server.url, '/engine.io/');
    try {
      await wire.open();
      const given = request(`${server.url}/engine.io/?EIO=4&transport=polling&sid=${wire.sid}`).on('error', () => {});
      given.end();
      await sleep(100);
      given.destroy();
      // Whether the pod knows of it yet or not. python-socketio asks again at once, and would not come back after a `1`.
      assert.equal((await wire.poll()).status, 400);
      assert.equal((await wire.push('4x')).status, 400);
    } finally {
      await server.stop();
    }
  });

  test('pings come as often as the client is told', async () => {
    const server = await ours({ engineOnly, pingInterval: 50, pingTimeout: 20_000 });
    const wire = new Wire(server.url, '/engine.io/');
    try {
      const ws = await wire.ws();
      const began = Date.now();
      for (let n = 0; n < 20; n++) {
        assert.equal(await ws.next(), '2');
        ws.send('3');
      }
      // A second on a machine that does nothing else. A clock of 500 ms takes ten.
      assert.ok(Date.now() - began < 9_000, `20 pings took ${Date.now() - began} ms`);
    } finally {
      await server.stop();
    }
  });

  test('a session name that is changed is unknown, and CORS lets allowed pages in', async () => {
    const server = await ours({ engineOnly });
    const wire = new Wire(server.url, '/engine.io/');
    try {
      const sid = await wire.open();
      wire.sid = `${sid.slice(0, -1)}${sid.endsWith('A') ? 'B' : 'A'}`;
      assert.equal((await wire.poll()).text, '{"code":1,"message":"Session ID unknown"}');
      const origin = 'http://localhost:5173';
      const { headers } = await wire.http('GET', 'EIO=4&transport=polling', { headers: { origin } });
      assert.equal(headers['access-control-allow-origin'], origin);
      assert.equal(headers['access-control-allow-credentials'], 'true');
      assert.equal(headers.vary, 'Origin');
      const preflight = await wire.http('OPTIONS', 'EIO=4&transport=polling', {
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-a' },
      });
      assert.equal(preflight.status, 204);
      assert.deepEqual(
        [preflight.headers['access-control-allow-methods'], preflight.headers['access-control-allow-headers']],
        ['GET,POST', 'x-a'],
      );
      const foreign = await wire.http('GET', 'EIO=4&transport=polling', {
        headers: { origin: 'https://evil.example' },
      });
      assert.deepEqual([foreign.status, foreign.text], [403, '{"code":4,"message":"Forbidden"}']);
      assert.equal(foreign.headers['access-control-allow-origin'], undefined);
      assert.equal(foreign.headers.vary, 'Origin');
    } finally {
      await server.stop();
    }
  });
});

describe('Socket.IO packets that ask for nothing', () => {
  for (const packet of ['431[]', '42', '6']) {
    test(`a flood of ${packet} ends the session`, async () => {
      const server = await ours();
      const wire = new Wire(server.url, '/socket.io/');
      try {
        await wire.open();
        assert.equal((await wire.push('40')).status, 200);
        const answers = [];
        // Within the first body or the one after it.
        for (let n = 0; n < 2; n++) answers.push((await wire.push(Array(2_000).fill(packet).join('\x1e'))).status);
        assert.equal(answers.at(-1), 400);
      } finally {
        await server.stop();
      }
    });
  }
});

// With recovery each event has an offset of the server's own making: the tests of recovery look at those.
for (const recovery of [false]) {
  describe('Socket.IO', () => {
    same(
      'namespaces, auth, acknowledgements, over a WebSocket',
      async (wire) => {
        const ws = await wire.ws();
        for (const [sent, answers] of [
          ['40', 2],
          ['40/custom,{"token":"abc"}', 2],
          ['40/nope', 1],
          ['42["message",1,"2",{"3":[true]}]', 1],
          ['42["message"]', 1],
          ['42456["message-with-ack",1,"2",{"3":[false]}]', 1],
          ['41/custom,', 0],
          ['42["message","still here"]', 1],
        ]) {
          ws.send(sent);
          for (let n = 0; n < answers; n++) await ws.next();
        }
        ws.close();
      },
      { recovery },
    );

    same(
      'auth comes back',
      async (wire) => {
        const ws = await wire.ws();
        ws.send('40{"token":"x","n":[1, 2]}');
        await ws.next();
        // npm's server parses and writes it anew.
        const auth = await ws.next();
        wire.log.pop();
        wire.log.push(JSON.stringify(JSON.parse(auth.slice(2))));
        ws.close();
      },
      { recovery },
    );

    same(
      'binary, both ways',
      async (wire) => {
        const ws = await wire.ws();
        ws.send('40');
        await ws.next();
        await ws.next();
        ws.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
        ws.send(Buffer.from([1, 2, 3]));
        ws.send(Buffer.from([4, 5, 6]));
        for (let n = 0; n < 3; n++) await ws.next();
        ws.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
        ws.send(Buffer.from([1, 2, 3]));
        ws.send(Buffer.from([4, 5, 6]));
        for (let n = 0; n < 3; n++) await ws.next();
        ws.close();
      },
      { recovery },
    );

    same(
      'polling, binary too',
      async (wire) => {
        await wire.open();
        await wire.push('40');
        await wire.poll();
        await wire.push('42["message","a"]\u001e451-["message",{"_placeholder":true,"num":0}]\u001ebAQIDBA==');
        await wire.poll();
        await wire.push('43["message"]');
        await wire.push('41');
        // An event of a namespace that was left: the next poll is told of the end (npm's puts a noop before it).
        await wire.push('42["message"]');
        const { text } = await wire.poll({ log: false });
        if (!text.includes('Session ID unknown')) assert.ok(text.split('\u001e').includes('1'), text);
      },
      { recovery },
    );

    for (const bad of [
      '4',
      '4abc',
      '47',
      '42{}',
      '42[{}]',
      '42["a"',
      '42["connect"]',
      '40[]',
      '40"x"',
      '45["a"]',
      '45a-["a"]',
      '43{}',
      '41[]',
      '42/nope,["a"]',
      '40',
      '451-["message",{"_placeholder":true,"num":0}]+',
    ]) {
      same(
        `closed without a status: ${bad}`,
        async (wire) => {
          const ws = await wire.ws();
          ws.send('40');
          await ws.next();
          await ws.next();
          ws.send(bad.replace('+', ''));
          if (bad.endsWith('+')) ws.send('42["message"]');
          await ws.next();
        },
        { recovery },
      );
    }

    same(
      'an event before the connect, and none in time',
      async (wire) => {
        const early = await wire.ws();
        early.send('42["message","too early"]');
        await early.next();
        const silent = await wire.ws();
        await silent.next();
      },
      { recovery, connectTimeout: 500 },
    );
  });
}
