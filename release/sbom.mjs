// What the program is built of, as CycloneDX 1.5: each crate that is linked into it, with version, licence and checksum.
//
//   node sbom.mjs VERSION COMMIT

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The checksums of Cargo.lock by name and version. */
function checksums(lock) {
  const found = new Map();
  for (const part of lock.split('[[package]]').slice(1)) {
    const said = (key) => part.match(new RegExp(`^${key} = "(.*)"$`, 'm'))?.[1];
    if (said('checksum')) found.set(`${said('name')} ${said('version')}`, said('checksum'));
  }
  return found;
}

/** The packages that a program is linked from: normal dependencies, from its own package on. */
function linked({ packages, resolve }, name) {
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const start = packages.find((one) => one.name === name && one.source === null);
  const seen = new Set();
  const walk = (id) => {
    if (seen.has(id)) return;
    seen.add(id);
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) if (kinds.some(({ kind }) => kind === null)) walk(pkg);
  };
  walk(start.id);
  return packages.filter(({ id }) => seen.has(id));
}

export function sbom(metadata, lock, version, commit) {
  const sums = checksums(lock);
  const packages = linked(metadata, 'roomcast');
  const component = ({ name, version, license, repository }) => {
    const sum = sums.get(`${name} ${version}`);
    const purl = `pkg:cargo/${name}@${version}`;
    return {
      type: 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
      ...(license ? { licenses: [{ expression: license.replaceAll('/', ' OR ') }] } : {}),
      ...(sum ? { hashes: [{ alg: 'SHA-256', content: sum }] } : {}),
      ...(repository ? { externalReferences: [{ type: 'vcs', url: repository }] } : {}),
    };
  };
  const program = {
    type: 'application',
    'bom-ref': `pkg:cargo/roomcast@${version}`,
    name: 'roomcast',
    version,
    purl: `pkg:cargo/roomcast@${version}`,
    licenses: [{ expression: 'Apache-2.0 OR MIT' }],
    properties: [{ name: 'commit', value: commit }],
  };
  const timestamp = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: { timestamp, component: program },
    components: packages.filter(({ name, source }) => !(name === 'roomcast' && source === null)).map(component),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [version, commit] = process.argv.slice(2);
  const host = execFileSync('rustc', ['-vV'], { encoding: 'utf8' }).match(/^host: (.*)$/m)[1];
  const args = ['metadata', '--format-version', '1', '--locked', '--filter-platform', host];
  const text = execFileSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
  const lock = readFileSync(new URL('../Cargo.lock', import.meta.url), 'utf8');
  console.log(JSON.stringify(sbom(JSON.parse(text), lock, version, commit), null, 2));
}
