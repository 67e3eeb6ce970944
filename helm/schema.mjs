// Writes helm/roomcast/values.schema.json: helm/schema.json, and in it what may be set below `configuration` and `preset`. The keys of the
// configuration are those of docs/CONFIGURATION.md, which the pod's own settings are printed to; the presets are the files of presets/.
// Beside it live-keys.json: the keys that a running pod takes over, by section; and settings.json: the keys that the pod's settings mark as
// secret, by section, and the presets that bring an address of Redis.
//
//   node helm/schema.mjs          writes all three
//   node helm/schema.mjs --check  exits 1 if one is not up to date

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const [target, liveTarget, base] = ['roomcast/values.schema.json', 'roomcast/live-keys.json', 'schema.json'];
const settingsTarget = 'roomcast/settings.json';

/** The tables of the reference by the names of their sections (the top of the file is ''): `{list, keys: [{name, fallback, allowed, live}]}`. */
export function tables(reference) {
  const found = new Map();
  for (const part of reference.split(/^## /m).slice(1)) {
    const title = part.split('\n', 1)[0];
    const name = title === 'The top of the file' ? '' : title.match(/^`\[+([a-z_.]+)\]+`$/)?.[1];
    if (name === undefined) continue;
    const rows = part.split('\n').filter((line) => line.startsWith('| `'));
    const keys = rows.map((row) => {
      const [, key, fallback, allowed] = row.split(/ ?(?<!\\)\| ?/);
      const live = !row.endsWith(' Needs a restart. |');
      return { name: key.replaceAll('`', ''), fallback, allowed: allowed.replaceAll('\\|', '|'), live };
    });
    found.set(name, { list: title.startsWith('`[['), keys });
  }
  if (!found.get('')?.keys.length) throw new Error('docs/CONFIGURATION.md has no table of the top of the file');
  return found;
}

/** Text that the pod fills in from its environment may stand for any value, and a null is left out of the pod's file. */
const DEFINITIONS = {
  variable: { type: ['string', 'null'], pattern: '\\$\\{' },
  switch: { anyOf: [{ type: 'boolean' }, { $ref: '#/definitions/variable' }] },
  duration: { anyOf: [{ type: ['string', 'null'], pattern: '^([0-9]+(ms|s|m|h|d))+$|^0$|\\$\\{' }, { enum: [0] }] },
  size: {
    anyOf: [
      { type: 'integer', minimum: 0 },
      { type: ['string', 'null'], pattern: '^[0-9]+([bB]|[kKmMgG][iI][bB])?$|\\$\\{' },
    ],
  },
};
const definition = (name) => ({ $ref: `#/definitions/${name}` });

/** What a key may be, by the reference's words for it. */
function kind(allowed) {
  const [all, several] = allowed.split('; several as a list');
  if (several !== undefined || all.startsWith('a list of ')) return { type: ['array', 'string', 'null'] };
  if (all.startsWith('a table of ')) return { type: ['object', 'null'] };
  if (/^(`[a-z0-9_.-]+`(, |$))+$/.test(all)) {
    const words = [...all.matchAll(/`([^`]*)`/g)].map(([, word]) => word);
    return { anyOf: [{ enum: words }, definition('variable')] };
  }
  const [, one, word] = all.match(/^(.*?)(?:, or `([a-z]+)`)?$/s);
  const known = scalar(one);
  return word && known.type === undefined ? { anyOf: [known, { enum: [word] }] } : known;
}

function scalar(allowed) {
  if (allowed === '`true` or `false`') return definition('switch');
  if (allowed.includes('(units ms, s, m, h, d)')) return definition('duration');
  const number = allowed.match(/^(\d+) to (\d+)$/);
  if (number) {
    const [minimum, maximum] = number.slice(1).map(Number);
    return { anyOf: [{ type: 'integer', minimum, maximum }, definition('variable')] };
  }
  if (/^\d+([KMG]iB)? to \d+([KMG]iB)?$/.test(allowed)) return definition('size');
  return { type: ['string', 'null'] };
}

/** The schema of a section: only its keys, and what a list of tables must have. */
function section({ list, keys }, below, special) {
  const properties = Object.fromEntries(keys.map(({ name, allowed }) => [name, kind(allowed)]));
  const table = { type: 'object', additionalProperties: false, properties: { ...properties, ...below, ...special } };
  if (!list) return table;
  const required = keys.filter(({ fallback }) => fallback === 'must be set').map(({ name }) => name);
  return { type: 'array', items: { ...table, required } };
}

/** What may be set below `configuration`; `special` says of some keys at its top more than the reference does. */
export function configuration(reference, special) {
  const all = tables(reference);
  // A policy takes every key of the default one.
  const policy = all.get('policy');
  policy.keys.push(...all.get('default_policy').keys);
  const of = (name) => {
    const prefix = name === '' ? '' : `${name}.`;
    const nested = [...all.keys()].filter(
      (other) =>
        other !== '' && other.startsWith(prefix) && !other.slice(prefix.length).includes('.') && other !== name,
    );
    const below = Object.fromEntries(nested.map((other) => [other.slice(prefix.length), of(other)]));
    return section(all.get(name), below, name === '' ? special : {});
  };
  return of('');
}

/** The live keys of the reference, by section. Lists of tables are not in it: the pod compares those as wholes. */
export function liveKeys(reference) {
  const live = [...tables(reference)].filter(([, { list }]) => !list);
  const named = live.map(([name, { keys }]) => [name, keys.filter((key) => key.live).map((key) => key.name)]);
  return Object.fromEntries(named.filter(([, keys]) => keys.length > 0));
}

/** The keys that the sources of the settings mark with `secret()`, by section; the top of the file is ''. */
export function secretKeys(sources) {
  const found = {};
  for (const source of sources) {
    for (const part of source.split(/^section! \{$/m).slice(1)) {
      const name = part.match(/^ {4}pub struct \w+ in "([a-z_.]*)" \{$/m)?.[1];
      const keys = part.split(/^\}$/m, 1)[0].matchAll(/^ {8}([a-z_]+): [^;]*?\bsecret\(\)/gm);
      for (const [, key] of keys) {
        if (name === undefined) throw new Error(`the section of the secret ${key} has no name`);
        found[name] = [...(found[name] ?? []), key];
      }
    }
  }
  return Object.fromEntries(Object.entries(found).sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** The presets that have `redis.urls`. */
function presetsWithRedis() {
  const presets = readdirSync(file('../presets')).sort();
  const has = (name) => /^\[redis\]$[^[]*^urls = /m.test(readFileSync(file(`../presets/${name}`), 'utf8'));
  return presets.filter(has).map((name) => name.replace(/\.toml$/, ''));
}

function settings() {
  const folder = '../src/config';
  const names = readdirSync(file(folder)).filter((name) => name.endsWith('.rs'));
  const secrets = secretKeys(names.sort().map((name) => readFileSync(file(`${folder}/${name}`), 'utf8')));
  return { secrets, presets_with_redis: presetsWithRedis() };
}

/** JSON in lines of at most 150 characters, as far as its parts allow. */
function lines(value, indent = '') {
  const flat = JSON.stringify(value, null, 1)
    .replace(/\n\s*/g, ' ')
    .replace(/([[{]) | ([\]}])/g, '$1$2');
  if (typeof value !== 'object' || value === null || indent.length + flat.length <= 140) return flat;
  const more = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((item) => more + lines(item, more)).join(',\n')}\n${indent}]`;
  const entries = Object.entries(value).map(([key, item]) => `${more}${JSON.stringify(key)}: ${lines(item, more)}`);
  return `{\n${entries.join(',\n')}\n${indent}}`;
}

export function schema() {
  const made = JSON.parse(readFileSync(file(base), 'utf8'));
  Object.assign(made.definitions, DEFINITIONS);
  const presets = readdirSync(file('../presets')).map((name) => name.replace(/\.toml$/, ''));
  made.properties.preset = { enum: ['', ...presets.sort()] };
  const reference = readFileSync(file('../docs/CONFIGURATION.md'), 'utf8');
  made.properties.configuration = configuration(reference, made.properties.configuration.properties);
  return `${lines(made)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const reference = readFileSync(file('../docs/CONFIGURATION.md'), 'utf8');
  for (const [name, written] of [
    [target, schema()],
    [liveTarget, `${lines(liveKeys(reference))}\n`],
    [settingsTarget, `${lines(settings())}\n`],
  ]) {
    if (!process.argv.includes('--check')) {
      writeFileSync(file(name), written);
    } else if (written !== readFileSync(file(name), 'utf8')) {
      console.error(
        `helm/${name} is not what docs/CONFIGURATION.md, src/config and presets/ say: run \`node helm/schema.mjs\``,
      );
      process.exitCode = 1;
    }
  }
}
