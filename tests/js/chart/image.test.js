// The container image without a container engine: what its last stage would hold is made in a plain folder, and run there as
// the runtime would: that folder as a read-only root, uid 65532, no capabilities.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { parse } from 'yaml';

import { freePorts } from '../support/ports.js';
import { withFolder } from '../support/folder.js';
import { root } from '../support/helm.js';
import { run } from '../support/process.js';

const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll(/\\\n\s*/g, '');
const instructions = dockerfile
  .split('\n')
  .filter((line) => /^[A-Z]+ /.test(line))
  .map((line) => line.split(/ (.*)/s));
const last = instructions.slice(instructions.findLastIndex(([name]) => name === 'FROM'));
const only = (name) => {
  const found = last.filter(([instruction]) => instruction === name);
  assert.equal(found.length, 1, `${found.length} times ${name}`);
  return found[0][1];
};

test('the last stage is empty but for the folder, and not root', () => {
  assert.equal(only('FROM'), 'scratch');
  assert.equal(only('COPY'), '--from=build /rootfs /');
  assert.equal(only('USER'), '65532:65532');
  assert.ok(
    instructions.some(
      ([name, text]) => name === 'RUN' && text.endsWith('image/rootfs target/release/roomcast /rootfs'),
    ),
  );
  assert.deepEqual(
    last.filter(([name]) => name === 'RUN'),
    [],
    'there is no shell',
  );
});

test('the toolchain of the image is new enough', () => {
  const image = dockerfile.match(/rust:(\d+)\.(\d+)-/);
  const needed = readFileSync(join(root, 'Cargo.toml'), 'utf8').match(/^rust-version = "(\d+)\.(\d+)"/m);
  assert.ok(Number(image[2]) >= Number(needed[2]), `${image[0]} is older than ${needed[0]}`);
});

test('what the build reads is sent to the builder', () => {
  const sent = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  for (const name of sent) assert.ok(existsSync(join(root, name)), `.dockerignore lets in ${name}, which there is not`);
  const { workspace } = Object.fromEntries([
    ['workspace', readFileSync(join(root, 'Cargo.toml'), 'utf8').match(/members = \[(.*)\]/)[1]],
  ]);
  for (const [, member] of workspace.matchAll(/"(.*?)"/g))
    assert.ok(sent.includes(member.replace('/*', '')), `the workspace's ${member} is not sent`);
  const sources = readdirSync(join(root, 'src'), { recursive: true }).filter((name) => name.endsWith('.rs'));
  for (const name of sources) {
    for (const [, included] of readFileSync(join(root, 'src', name), 'utf8').matchAll(
      /include(?:_str|_bytes)?!\(\s*"([^"]+)"/g,
    )) {
      const [folder] = relative(root, join(root, 'src', dirname(name), included)).split(sep);
      assert.ok(sent.includes(folder), `src/${name} includes ${included}, and ${folder} is not sent`);
    }
  }
});

test('compose.yaml: two pods on different ports, hardened as in the chart', () => {
  const { services } = parse(readFileSync(join(root, 'compose.yaml'), 'utf8'), { merge: true });
  const pods = Object.entries(services).filter(([name]) => name.startsWith('pod'));
  assert.equal(pods.length, 2);
  const ports = pods.flatMap(([, { ports }]) =>
    ports.map((port) => port.split(':').slice(0, 2).join(':') + (port.split('/')[1] ?? '')),
  );
  assert.equal(new Set(ports).size, 8);
  for (const [name, pod] of pods) {
    assert.equal(pod.read_only, true, name);
    assert.deepEqual(pod.cap_drop, ['ALL']);
    const seconds = (text) => Number(text.match(/^(\d+)s$/)[1]);
    const { ROOMCAST_DRAIN_DELAY: delay, ROOMCAST_DRAIN_WINDOW: window } = pod.environment;
    assert.ok(seconds(pod.stop_grace_period) >= seconds(delay) + seconds(window) + 10);
  }
});

test('compose.edge.yaml: a home, a relay and two edges, hardened as in the chart, each with what it needs', async () => {
  const { services, volumes } = parse(readFileSync(join(root, 'compose.edge.yaml'), 'utf8'), { merge: true });
  const pods = Object.entries(services).filter(([, { image }]) => image.startsWith('roomcast'));
  assert.deepEqual(
    pods.map(([name]) => name),
    ['home', 'relay', 'edge-1', 'edge-2'],
  );
  const ports = pods.flatMap(([, { ports }]) => ports.map((port) => port.split(':').slice(0, 2).join(':')));
  assert.equal(new Set(ports).size, 8);
  assert.ok(
    ports.every((port) => port.startsWith('127.0.0.1:')),
    'only this machine reaches them',
  );
  for (const [name, pod] of Object.entries(services)) {
    for (const other of Object.keys(pod.depends_on ?? {})) assert.ok(services[other], `${name} waits for ${other}`);
    for (const volume of pod.volumes ?? []) assert.ok(volume.split(':')[0] in volumes, `${name}: ${volume}`);
  }
  const listening = new Map();
  for (const [name, pod] of pods) {
    assert.equal(pod.read_only, true, name);
    assert.deepEqual(pod.cap_drop, ['ALL']);
    const seconds = (text) => Number(text.match(/^(\d+)s$/)[1]);
    const { ROOMCAST_DRAIN_DELAY: delay, ROOMCAST_DRAIN_WINDOW: window } = pod.environment;
    assert.ok(seconds(pod.stop_grace_period) >= seconds(delay) + seconds(window) + 10);
    const { ROOMCAST_RELAY_LISTEN: listen, ROOMCAST_RELAY_KEYS: keys } = pod.environment;
    if (listen) listening.set(`wss://${name}${listen}`, keys);
    const { code, stdout, stderr } = await run(process.env.TEST_POD, ['check-config', '--without-certificates'], {
      env: pod.environment,
    });
    assert.equal(code, 0, `${name}: ${stdout}${stderr}`);
    assert.match(stdout, name === 'home' ? /^broker +redis:\/\/redis:6379/m : /^broker +at a home: wss:/m);
  }
  // Each edge goes to a service that listens, with its key, and trusts the names in its certificate.
  const names = services.certificates.command[0].match(/subjectAltName=(\S+)/)[1].split(',');
  const homes = pods.filter(([, { environment }]) => environment.ROOMCAST_UPSTREAM);
  assert.equal(homes.length, 3);
  for (const [name, { environment }] of homes) {
    assert.equal(listening.get(environment.ROOMCAST_UPSTREAM), environment.ROOMCAST_UPSTREAM_KEY, name);
    assert.ok(names.includes(`DNS:${new URL(environment.ROOMCAST_UPSTREAM).hostname}`), name);
  }
});

test('the pod takes the environment of compose.yaml', async () => {
  const { services } = parse(readFileSync(join(root, 'compose.yaml'), 'utf8'), { merge: true });
  const { code, stdout, stderr } = await run(process.env.TEST_POD, ['check-config', '--without-certificates'], {
    env: services['pod-1'].environment,
  });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^broker +redis:\/\/redis:6379/m);
});

test('the image runs: read-only root, uid 65532, no capabilities, nothing but its own files', async (t) => {
  if (process.getuid() !== 0) return t.skip('SKIPPED: only root can make another root folder');
  await withFolder({}, async (folder) => {
    const rootfs = join(folder, 'rootfs');
    const made = await run(join(root, 'image/rootfs'), [process.env.TEST_POD, rootfs]);
    assert.equal(made.code, 0, made.stderr);
    const entry = JSON.parse(only('ENTRYPOINT'));
    assert.equal(entry.length, 1);
    assert.ok(statSync(join(rootfs, entry[0])).mode & 0o005, 'everybody may run it');
    const programs = (await readdir(join(rootfs, 'usr/bin'))).concat(
      existsSync(join(rootfs, 'bin')) ? await readdir(join(rootfs, 'bin')) : [],
    );
    assert.deepEqual(programs, ['roomcast'], 'no shell');

    const [plain, internal] = await freePorts(2);
    const configuration = join(folder, 'configuration');
    await mkdir(configuration, { mode: 0o755 });
    await chmod(folder, 0o755);
    const key = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
    await writeFile(join(configuration, 'login.pem'), key);
    await writeFile(
      join(configuration, 'roomcast.toml'),
      `dev = false\nanonymous = true\nplain_listen = "127.0.0.1:${plain}"\ninternal_listen = "127.0.0.1:${internal}"\n[tokens]\npublic_keys = ["/etc/roomcast/login.pem"]\n[drain]\ndelay = "0ms"\nwindow = "0ms"\n`,
    );
    const steps = [
      'mount --make-rprivate /',
      'mount --bind "$1" "$1"',
      'mount --rbind /proc "$1/proc"',
      'mount --bind "$2" "$1/etc/roomcast"',
      'mount -o remount,bind,ro "$1/etc/roomcast"',
      'mount -o remount,bind,ro "$1"',
      `exec setpriv --no-new-privs unshare --root="$1" --wd=/ --setgid=65532 --setuid=65532 ${entry[0]} serve --config /etc/roomcast/roomcast.toml`,
    ];
    const pod = spawn('unshare', ['--mount', 'sh', '-euc', steps.join('; '), 'sh', rootfs, configuration], {
      env: { PATH: process.env.PATH, ROOMCAST_API_KEY: 'key' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    pod.stderr.setEncoding('utf8').on('data', (text) => (log += text));
    const ended = new Promise((done) => pod.once('exit', (code, signal) => done({ code, signal })));
    try {
      let ready = 0;
      for (let n = 0; n < 100 && ready !== 200 && pod.exitCode === null; n++) {
        ready = await fetch(`http://127.0.0.1:${internal}/ready`).then(
          (answer) => answer.status,
          () => 0,
        );
        if (ready !== 200) await sleep(100);
      }
      assert.equal(ready, 200, log);
      const status = Object.fromEntries(
        readFileSync(`/proc/${pod.pid}/status`, 'utf8')
          .split('\n')
          .map((line) => line.split(/:\s*/)),
      );
      assert.equal(status.Uid, '65532\t65532\t65532\t65532');
      assert.equal(status.Gid, '65532\t65532\t65532\t65532');
      for (const kind of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) assert.equal(BigInt(`0x${status[kind]}`), 0n, kind);
      assert.equal(status.NoNewPrivs, '1');
      const mounts = readFileSync(`/proc/${pod.pid}/mountinfo`, 'utf8')
        .split('\n')
        .map((line) => line.split(' '));
      const at = mounts.find(([, , , , where]) => where === '/');
      assert.match(at[5], /^ro\b/, `its root is mounted ${at[5]}`);
      const answer = await fetch(`http://127.0.0.1:${internal}/api/publish`, {
        method: 'POST',
        headers: { authorization: 'Bearer key' },
        body: JSON.stringify({ room: 'a', topic: 't', data: 1 }),
      });
      assert.equal(answer.status, 200, await answer.text());
      const metrics = await (await fetch(`http://127.0.0.1:${internal}/metrics`)).text();
      assert.match(metrics, /^process_open_fds \d+$/m, 'it sees its own process');
    } finally {
      pod.kill('SIGTERM');
    }
    assert.deepEqual(await ended, { code: 0, signal: null }, log);
  });
});
