// Makes the JSON schemas that kubeconform validates by, out of what Kubernetes and the operators publish with their own
// sources: the API's OpenAPI document, and custom resource definitions. Strict: a field that does not exist is a mistake.
//
//   node schemas.js FOLDER swagger.json crd.yaml…

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parseAllDocuments } from 'yaml';

const either = (...types) => ({ anyOf: types.map((type) => ({ type })) });

/** What an OpenAPI schema says, as a JSON schema. `resolve` follows a `$ref`. */
function schema(from, resolve) {
  if (from.$ref) return resolve(from.$ref);
  if (from['x-kubernetes-int-or-string'] || from.format === 'int-or-string') return either('integer', 'string');
  const made = {};
  for (const key of [
    'type',
    'enum',
    'required',
    'pattern',
    'minimum',
    'maximum',
    'minLength',
    'maxLength',
    'minItems',
    'maxItems',
  ]) {
    if (from[key] !== undefined) made[key] = from[key];
  }
  if (from.items) made.items = schema(from.items, resolve);
  if (from.properties) {
    made.properties = Object.fromEntries(
      Object.entries(from.properties).map(([name, property]) => [name, schema(property, resolve)]),
    );
  }
  if (typeof from.additionalProperties === 'object') {
    made.additionalProperties = schema(from.additionalProperties, resolve);
  } else if (from.properties && !from['x-kubernetes-preserve-unknown-fields']) {
    made.additionalProperties = false;
  }
  return made;
}

/** The schemas of an OpenAPI 2 document by the file name that kubeconform looks for. */
export function* ofOpenApi(document) {
  const quantity = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
  const path = [];
  const resolve = (ref) => {
    const name = ref.split('/').pop();
    if (name === quantity) return either('string', 'number');
    if (path.includes(name)) return {};
    path.push(name);
    const made = schema(document.definitions[name], resolve);
    path.pop();
    return made;
  };
  for (const [name, definition] of Object.entries(document.definitions)) {
    for (const { group, version, kind } of definition['x-kubernetes-group-version-kind'] ?? []) {
      if (kind.endsWith('Options') || kind === 'WatchEvent') continue;
      const made = resolve(`#/definitions/${name}`);
      made.required = [...new Set([...(made.required ?? []), 'apiVersion', 'kind'])];
      yield [fileName(group, version, kind), made];
    }
  }
}

/** The schemas of custom resource definitions. */
export function* ofDefinitions(text) {
  for (const parsed of parseAllDocuments(text)) {
    const document = parsed.toJS();
    if (document?.kind !== 'CustomResourceDefinition') continue;
    const { group, names, versions } = document.spec;
    for (const version of versions) {
      const made = schema(version.schema.openAPIV3Schema, () => ({}));
      made.properties = { ...made.properties, metadata: { type: 'object' } };
      yield [fileName(group, version.name, names.kind), made];
    }
  }
}

const fileName = (group, version, kind) =>
  `${kind}-${group ? `${group.split('.')[0]}-` : ''}${version}.json`.toLowerCase();

const [folder, openApi, ...definitions] = process.argv.slice(2);
if (!openApi) throw new Error('usage: node schemas.js FOLDER swagger.json crd.yaml…');
mkdirSync(folder, { recursive: true });
let count = 0;
const write = ([name, made]) => {
  count++;
  writeFileSync(join(folder, name), JSON.stringify(made));
};
for (const made of ofOpenApi(JSON.parse(readFileSync(openApi, 'utf8')))) write(made);
for (const file of definitions) for (const made of ofDefinitions(readFileSync(file, 'utf8'))) write(made);
console.log(`${count} schemas in ${folder}`);
