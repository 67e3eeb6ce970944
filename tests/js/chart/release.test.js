// What makes a release, as far as it goes without a registry, an engine and a key: the same script that the workflow runs.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { chmod, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';

import { parse } from 'yaml';

import { withFolder } from '../support/folder.js';
import { root } from '../support/helm.js';
import { run } from '../support/process.js';

const script = join(root, 'release/run');
const version = '9.8.7';

/** A small program stands for the pod, whose archives would take long; the image of a real one is tried in image.test.js. */
const release = (out, steps, env = {}) =>
  run(script, ['--program', '/bin/true', '--version', version, '--out', out, ...steps], {
    env: { ...process.env, SOURCE_DATE_EPOCH: '1790000000', ...env },
  });

const json = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
const blob = (layout, { digest, size }) => {
  const bytes = readFileSync(join(layout, 'blobs', digest.replace(':', '/')));
  assert.equal(bytes.length, size);
  assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest);
  return bytes;
};

test('a release is made here, without a container engine', async () => {
  await withFolder({}, async (out) => {
    const { code, stdout, stderr } = await release(out, ['programs', 'image', 'chart', 'sbom', 'index', 'sums']);
    assert.equal(code, 0, stdout + stderr);
    assert.doesNotMatch(stdout, /skipped/);
    const arch = { x64: 'amd64', arm64: 'arm64' }[process.arch];

    const archive = join(out, `roomcast-${version}-linux-${arch}.tar.gz`);
    const { stdout: names } = await run('tar', ['-tzf', archive]);
    for (const name of ['roomcast', 'roomcast.service', 'LICENSE-MIT', 'UPGRADING.md'])
      assert.ok(names.split('\n').includes(`./${name}`), names);

    const { stdout: shown } = await run('helm', ['show', 'chart', join(out, `roomcast-${version}.tgz`)]);
    assert.match(shown, /^version: 9\.8\.7$/m);
    assert.match(shown, /^appVersion: 9\.8\.7$/m);

    // The image for all machines leads to that of this one, each part by its digest.
    const layout = join(out, `roomcast-${version}-image`);
    const [all] = json(layout, 'index.json').manifests;
    assert.equal(all.annotations['org.opencontainers.image.ref.name'], version);
    const { manifests } = JSON.parse(blob(layout, all));
    assert.deepEqual(
      manifests.map(({ platform }) => platform),
      [{ architecture: arch, os: 'linux' }],
    );
    const manifest = JSON.parse(blob(layout, manifests[0]));
    const { config, rootfs, architecture } = JSON.parse(blob(layout, manifest.config));
    assert.equal(architecture, arch);
    assert.deepEqual([config.User, config.Entrypoint, config.Cmd], ['65532:65532', ['/usr/bin/roomcast'], ['serve']]);
    assert.ok('8443/udp' in config.ExposedPorts);
    assert.equal(config.Labels['org.opencontainers.image.version'], version);
    const layer = gunzipSync(blob(layout, manifest.layers[0]));
    assert.deepEqual(rootfs.diff_ids, [`sha256:${createHash('sha256').update(layer).digest('hex')}`]);
    assert.ok(layer.includes('./usr/bin/roomcast') && layer.includes('./etc/ssl/certs/ca-certificates.crt'));

    const { components, metadata } = json(out, `roomcast-${version}.cdx.json`);
    assert.equal(metadata.component.version, version);
    const rustls = components.find(({ name }) => name === 'rustls');
    assert.match(rustls.hashes[0].content, /^[0-9a-f]{64}$/);
    assert.ok(components.length > 50 && components.every(({ licenses }) => licenses), 'each has a licence');
    assert.ok(!components.some(({ name }) => name === 'proptest'), 'what only tests need is not in it');

    const { code: right } = await run('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: out });
    assert.equal(right, 0);
    const summed = readFileSync(join(out, 'SHA256SUMS'), 'utf8');
    for (const file of readdirSync(out)) if (file !== 'SHA256SUMS') assert.ok(summed.includes(` ${file}`), file);
  });
});

test('the same inputs make the same bytes', async () => {
  const made = () =>
    withFolder({}, async (out) => {
      assert.equal((await release(out, ['programs', 'image', 'sums'])).code, 0);
      return readFileSync(join(out, 'SHA256SUMS'), 'utf8');
    });
  assert.equal(await made(), await made());
});

/** Programs that write down how they were called, in front of the real ones. */
const STANDS_IN = `#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in push*) echo 'Digest: sha256:c4a27' ;; inspect*) echo sha256:1a6e ;; esac
`;

test('what is published is signed, by its digest', async () => {
  const tools = { skopeo: STANDS_IN, cosign: STANDS_IN, helm: STANDS_IN };
  await withFolder(tools, async (folder) => {
    for (const name of Object.keys(tools)) await chmod(join(folder, name), 0o755);
    const calls = join(folder, 'calls');
    const env = { PATH: `${folder}:${process.env.PATH}`, CALLS: calls };
    const out = join(folder, 'out');
    const { code, stdout, stderr } = await release(out, ['--registry', 'registry.example.com', 'sign', 'publish'], env);
    assert.equal(code, 0, stdout + stderr);
    const said = readFileSync(calls, 'utf8').replaceAll(`${out}/`, '').trim().split('\n');
    assert.deepEqual(said, [
      'cosign sign-blob --yes --bundle SHA256SUMS.sigstore SHA256SUMS',
      'skopeo copy --all oci:roomcast-9.8.7-image:9.8.7 docker://registry.example.com/roomcast:9.8.7',
      'skopeo inspect --format {{.Digest}} docker://registry.example.com/roomcast:9.8.7',
      'cosign sign --yes --recursive registry.example.com/roomcast@sha256:1a6e',
      'cosign attest --yes --type cyclonedx --predicate roomcast-9.8.7.cdx.json registry.example.com/roomcast@sha256:1a6e',
      'helm push roomcast-9.8.7.tgz oci://registry.example.com/charts',
      'cosign sign --yes registry.example.com/charts/roomcast@sha256:c4a27',
    ]);
  });
});

test('a step that there is not is an error; a tool that is missing is one in strict mode, else it is told', async () => {
  await withFolder({}, async (out) => {
    const unknown = await release(out, ['imges']);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /there is no step "imges"; there are: programs image/);
    // Nothing but what the script itself needs.
    for (const tool of ['bash', 'sed', 'head', 'dirname', 'mkdir', 'realpath', 'uname', 'git'])
      await symlink((await run('which', [tool])).stdout.trim(), join(out, tool));
    const strict = await release(out, ['--strict', 'sign'], { PATH: out });
    assert.equal(strict.code, 1);
    assert.match(strict.stderr, /cosign is missing/);
    const told = await release(out, ['sign', 'publish'], { PATH: out });
    assert.equal(told.code, 0, told.stderr);
    assert.match(told.stdout, /^skipped: sign: cosign is missing\nskipped: publish: skopeo is missing$/m);
  });
});

test('the workflow runs this script for both machines, and all of its steps', () => {
  const { on, jobs } = parse(readFileSync(join(root, '.github/workflows/release.yaml'), 'utf8'));
  assert.deepEqual(on, { push: { tags: ['v*'] } });
  const arches = jobs.build.strategy.matrix.include.map(({ arch }) => arch);
  assert.deepEqual(arches, ['amd64', 'arm64']);
  const steps = readFileSync(script, 'utf8')
    .match(/^readonly STEPS=\((.*)\)$/m)[1]
    .split(' ');
  const ran = Object.values(jobs)
    .flatMap(({ steps }) => steps.map(({ run }) => run ?? ''))
    .filter((text) => text.startsWith('release/run --strict '))
    .flatMap((text) => text.split(' ').filter((word) => steps.includes(word)));
  assert.deepEqual(ran, steps);
  assert.ok(
    readFileSync(join(root, 'Dockerfile'), 'utf8').includes(jobs.build.container),
    'the compiler of the Dockerfile',
  );
});

test('the tests of the workflow are all stages of tests/run, each once', () => {
  const { jobs } = parse(readFileSync(join(root, '.github/workflows/test.yaml'), 'utf8'));
  const ran = jobs.stages.strategy.matrix.stages.flatMap((text) => text.split(' '));
  const stages = readFileSync(join(root, 'tests/run'), 'utf8')
    .match(/^readonly STAGES=\((.*)\)$/m)[1]
    .split(' ');
  assert.deepEqual(ran.sort(), stages.sort());
});

test('the unit for systemd starts, checks and reloads as the program and its drain do', async (t) => {
  const unit = readFileSync(join(root, 'release/roomcast.service'), 'utf8');
  const said = (key) => unit.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1];
  const reference = readFileSync(join(root, 'docs/CONFIGURATION.md'), 'utf8');
  const drain = (key) => {
    const [, number, unit] = reference.split('## `[drain]`')[1].match(new RegExp(`\\| \`${key}\` \\| \`(\\d+)(s|m)\``));
    return number * { s: 1, m: 60 }[unit];
  };
  assert.ok(Number(said('TimeoutStopSec')) >= drain('delay') + drain('window') + 10);
  assert.match(said('ExecReload'), /-HUP \$MAINPID$/);
  for (const line of ['ExecStartPre', 'ExecStart']) {
    const [, ...args] = said(line).split(' ');
    const { code, stderr } = await run(process.env.TEST_POD, [...args, '--help']);
    assert.equal(code, 0, stderr);
  }
  const verify = await run('systemd-analyze', ['--version']).catch(() => ({ code: 1 }));
  if (verify.code !== 0) return t.diagnostic('systemd-analyze is not here, which would look at the unit');
  await withFolder(
    { 'roomcast.service': unit.replaceAll('/usr/local/bin/roomcast', process.env.TEST_POD) },
    async (cwd) => {
      const { code, stdout, stderr } = await run('systemd-analyze', ['verify', './roomcast.service'], { cwd });
      assert.equal(code, 0, stdout + stderr);
    },
  );
});
