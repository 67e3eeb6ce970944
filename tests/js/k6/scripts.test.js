// Each k6 script in a form of 20 s, in each dialect, against a real pod: bounds kept, and its summary what it should be.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { k6 } from '../support/k6.js';
import { livePolls } from '../support/live_polls.js';
import { Pod, presets } from '../support/pod.js';
import { Redis } from '../support/redis.js';

const SCRIPTS = ['ramp', 'broadcast', 'churn', 'storm'];

/** Four scripts at once share two cores with the pod: these bounds are for what goes wrong, not for speed. */
const SHORT = {
  API_KEY: Pod.key,
  INSECURE: 1,
  SECONDS: 20,
  RAMP: 3,
  VUS: 4,
  SOCKETS: 10,
  RATE: 10,
  // A publish may take five seconds, and still none of the rate is left out.
  PUBLISHERS: 50,
  STAY: 3,
  DELIVERY_P95: 3000,
  PUBLISH_P95: 3000,
};
const CONNECTIONS = 40;

/** Runs all scripts at once, each in rooms of its own. */
async function all(t, variables) {
  const runs = SCRIPTS.map((script) => k6(script, { ...SHORT, ...variables, ROOM_PREFIX: variables.prefix(script) }));
  for (const [n, { code, said, result, html }] of (await Promise.all(runs)).entries()) {
    const script = SCRIPTS[n];
    await t.test(script, (t) => {
      assert.equal(code, 0, said);
      const { run, ok, thresholds, measured } = result;
      assert.deepEqual([run.scenario, run.dialect, run.connections], [script, variables.DIALECT, CONNECTIONS]);
      assert.ok(ok && thresholds.length >= 10, said);
      // Every client got every event while it was there; `ramp` and `churn` have some that came later.
      const { roomcast_published: published, roomcast_events: events } = measured;
      assert.ok(published.count >= 120, `${published.count} published`);
      if (script === 'broadcast') assert.equal(events.count, published.count * CONNECTIONS);
      else assert.ok(events.count > published.count * CONNECTIONS * 0.5, `${events.count} of ${published.count}`);
      assert.equal(measured.roomcast_complete.rate, 1);
      if (script === 'storm') assert.equal(measured.roomcast_returns.count, CONNECTIONS);
      if (script === 'churn') assert.ok(measured.roomcast_connections.count > CONNECTIONS * 2);
      assert.match(html, /<h2>Bounds<\/h2>/);
      assert.ok(html.includes('roomcast_delivery'));
      const { med, 'p(95)': p95, max } = measured.roomcast_delivery;
      t.diagnostic(`${variables.DIALECT} ${script}: delivery median ${med}, p95 ${p95}, max ${max} ms`);
    });
  }
}

const known = await presets();

/** A pod with a preset, and a Redis as the preset's document has one. */
async function withPreset(t, preset, use) {
  if (!known.includes(preset)) return t.skip(`SKIPPED: this build of roomcast has no preset ${preset}`);
  const server = await Redis.start();
  after(() => server.stop());
  const args = ['--preset', preset, '--redis', server.url, '--anonymous'];
  const running = await Pod.start({ args, dev: false, tls: false });
  after(() => running.end());
  await use(running, server);
}

// Each waits most of its seconds: several at a time.
describe('the scripts', { concurrency: 3 }, () => {
  test('native, against a pod', async (t) => {
    const running = await Pod.start();
    after(() => running.end());
    await all(t, { DIALECT: 'native', URL: running.tlsUrl, API: running.internal, prefix: (script) => script });
  });

  test("Socket.IO, against npm's socket.io", async (t) => {
    const server = await livePolls(Pod.key);
    after(server.close);
    await all(t, { DIALECT: 'socketio', URL: server.url, API: server.api, prefix: (script) => `session:${script}` });
  });

  test('Socket.IO, against a pod with the preset live-polls', (t) =>
    withPreset(t, 'live-polls', (running) =>
      all(t, {
        DIALECT: 'socketio',
        URL: `ws://127.0.0.1:${running.plainPort}/socket.io/`,
        API: running.internal,
        prefix: (script) => `session:${script}`,
      }),
    ));

  test('trips, against a pod with the preset trips', (t) =>
    withPreset(t, 'trips', (running, server) =>
      // As its backend does: PUBLISH.
      all(t, {
        DIALECT: 'trips',
        URL: running.plainUrl,
        API: running.internal,
        REDIS: server.url,
        prefix: (script) => `trip:${script}`,
      }),
    ));

  test('each client has a token of its own, and rooms are as unequal as they are asked to be', async () => {
    const secret = '0123456789abcdef0123456789abcdef';
    const running = await Pod.start({ dev: false, tls: false, args: ['--tokens-hmac-secrets', secret] });
    after(() => running.end());
    const variables = { ...SHORT, SECONDS: 8, RAMP: 1, SETTLE: 2, VUS: 2, SOCKETS: 20, ROOMS: 4, SKEW: 1, LOG: 1 };
    const at = { URL: running.plainUrl, API: running.internal };
    const [{ code, said, steps }, refused] = await Promise.all([
      k6('broadcast', { ...variables, ...at, HMAC_SECRET: secret }),
      k6('broadcast', {
        ...variables,
        ...at,
        HMAC_SECRET: 'another-secret-of-thirty-two-byte',
        ROOM_PREFIX: 'refused',
      }),
    ]);
    assert.equal(code, 0, said);
    const accepted = (await running.curl('/metrics')).text.match(
      /^roomcast_tokens_total\{result="accepted"\} (\d+)/m,
    )[1];
    assert.equal(Number(accepted), 40);
    const clients = new Map(
      steps.filter(({ step }) => step === 'subscribed').map(({ client, room }) => [client, room]),
    );
    const held = [1, 2, 3, 4].map((n) => [...clients.values()].filter((room) => room === `load:${n}`).length);
    assert.equal(
      held.reduce((sum, n) => sum + n, 0),
      40,
    );
    // 12 : 6 : 4 : 3, of 36 clients that are shared out beside one for each.
    assert.ok(held[0] > held[1] && held[1] > held[2] && held[2] >= held[3] && held[3] >= 2, `${held}`);
    assert.notEqual(refused.code, 0, 'tokens of another secret are not taken');
  });

  test('a bound that is broken fails the run', async () => {
    const running = await Pod.start();
    after(() => running.end());
    const short = {
      ...SHORT,
      SECONDS: 8,
      RAMP: 1,
      SETTLE: 2,
      VUS: 1,
      SOCKETS: 2,
      URL: running.tlsUrl,
      API: running.internal,
    };
    const [slow, late] = await Promise.all([
      k6('broadcast', { ...short, DELIVERY_P95: 0, ROOM_PREFIX: 'slow' }),
      // One publisher, which waits for each answer: no machine answers so many.
      k6('broadcast', { ...short, RATE: 10_000, PUBLISHERS: 1, ROOM_PREFIX: 'late' }),
    ]);
    assert.equal(late.code, 99, 'the load was never reached');
    assert.match(late.said, /BROKEN: dropped_iterations count==0/);
    assert.ok(late.result.measured.dropped_iterations.count > 0);
    assert.equal(slow.code, 99);
    assert.equal(slow.result.ok, false);
    assert.match(slow.said, /BROKEN: roomcast_delivery p\(95\)<0/);
    const nobody = await k6('broadcast', { ...short, URL: 'wss://127.0.0.1:1/ws' });
    assert.notEqual(nobody.code, 0, 'no server');
    assert.ok(nobody.result.measured.roomcast_errors.count > 0);
  });
});

test('variables that make no sense are refused, with their name', async () => {
  for (const [variables, sentence] of [
    [{ API_KEY: '' }, /API_KEY is not set/],
    [{ API_KEY: 'a', DIALECT: 'mqtt' }, /DIALECT=mqtt: there are native, socketio, trips/],
    [{ API_KEY: 'a', TOKEN: 'a', HMAC_SECRET: 'b' }, /TOKEN and HMAC_SECRET are both set/],
    [{ API_KEY: 'a', VUS: 'many' }, /VUS=many: a number is needed/],
    [{ API_KEY: 'a', SECONDS: 5 }, /SECONDS=5 leaves no time to publish/],
  ]) {
    const { code, said } = await k6('broadcast', variables);
    assert.notEqual(code, 0);
    assert.match(said, sentence);
  }
});
