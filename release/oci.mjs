// Container images as folders in the OCI image layout, without a container engine.
//
//   node oci.mjs image FOLDER LAYER.tar.gz ARCH VERSION COMMIT   one machine's image, with what the Dockerfile's last stage says
//   node oci.mjs index FOLDER IMAGE-FOLDER…                      one image for all these machines
//
// The same inputs make the same bytes: times are SOURCE_DATE_EPOCH.

import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const TYPE = 'application/vnd.oci.image.';
const created = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
const sha256 = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** What the last stage of the Dockerfile says of a container. */
export function containerOf(dockerfile) {
  const instructions = dockerfile
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => line.split(/ (.*)/s));
  const last = instructions.slice(instructions.findLastIndex(([name]) => name === 'FROM'));
  const said = (name) => last.find(([instruction]) => instruction === name)?.[1];
  const labels = [...(said('LABEL') ?? '').matchAll(/([\w.]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]);
  const ports = said('EXPOSE')
    .split(' ')
    .map((port) => [port, {}]);
  return {
    User: said('USER'),
    ExposedPorts: Object.fromEntries(ports),
    Env: ['PATH=/usr/bin'],
    Entrypoint: JSON.parse(said('ENTRYPOINT')),
    Cmd: JSON.parse(said('CMD')),
    Labels: Object.fromEntries(labels),
    StopSignal: said('STOPSIGNAL'),
  };
}

class Layout {
  constructor(folder) {
    this.folder = folder;
    mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
    writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  }

  blob(mediaType, bytes, more = {}) {
    const digest = sha256(bytes);
    writeFileSync(join(this.folder, 'blobs', digest.replace(':', '/')), bytes);
    return { mediaType, digest, size: bytes.length, ...more };
  }

  json(mediaType, value, more) {
    return this.blob(mediaType, Buffer.from(JSON.stringify(value)), more);
  }

  /** What the layout is about. */
  finish(manifests) {
    const index = { schemaVersion: 2, mediaType: `${TYPE}index.v1+json`, manifests };
    writeFileSync(join(this.folder, 'index.json'), JSON.stringify(index));
  }
}

function image(folder, layer, architecture, version, commit) {
  const layout = new Layout(folder);
  const packed = readFileSync(layer);
  const labels = { 'org.opencontainers.image.version': version, 'org.opencontainers.image.revision': commit };
  const config = containerOf(readFileSync(fileURLToPath(new URL('../Dockerfile', import.meta.url)), 'utf8'));
  Object.assign(config.Labels, labels);
  const rootfs = { type: 'layers', diff_ids: [sha256(gunzipSync(packed))] };
  const manifest = layout.json(
    `${TYPE}manifest.v1+json`,
    {
      schemaVersion: 2,
      mediaType: `${TYPE}manifest.v1+json`,
      config: layout.json(`${TYPE}config.v1+json`, { created, architecture, os: 'linux', config, rootfs }),
      layers: [layout.blob(`${TYPE}layer.v1.tar+gzip`, packed)],
      annotations: labels,
    },
    {
      platform: { architecture, os: 'linux' },
      annotations: { 'org.opencontainers.image.ref.name': version },
    },
  );
  layout.finish([manifest]);
}

function index(folder, images) {
  const layout = new Layout(folder);
  const all = images.map((image) => JSON.parse(readFileSync(join(image, 'index.json'), 'utf8')).manifests[0]);
  const versions = new Set(all.map(({ annotations }) => annotations['org.opencontainers.image.ref.name']));
  if (versions.size !== 1) throw new Error(`${images.map((image) => basename(image))} are not of one version`);
  for (const image of images)
    for (const blob of readdirSync(join(image, 'blobs/sha256')))
      copyFileSync(join(image, 'blobs/sha256', blob), join(folder, 'blobs/sha256', blob));
  const manifests = all.map(({ annotations: _, ...manifest }) => manifest);
  manifests.sort((a, b) => (a.platform.architecture < b.platform.architecture ? -1 : 1));
  const both = { schemaVersion: 2, mediaType: `${TYPE}index.v1+json`, manifests };
  const annotations = { 'org.opencontainers.image.ref.name': [...versions][0] };
  layout.finish([layout.json(`${TYPE}index.v1+json`, both, { annotations })]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [what, folder, ...rest] = process.argv.slice(2);
  if (what === 'image' && rest.length === 4) image(folder, ...rest);
  else if (what === 'index' && rest.length > 0) index(folder, rest);
  else throw new Error('usage: node oci.mjs image FOLDER LAYER ARCH VERSION COMMIT | index FOLDER IMAGE-FOLDER…');
}
