// The API reference, from the types that are published: `node reference.mjs` writes API.md, after a build.
//
// Always holds: it says what the declarations say and nothing else; its examples are those of the README, which a test runs.

import { readFile, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

/** The entries, and the example of the README that shows each. */
const ENTRIES = {
  index: 'start',
  commands: 'publish',
  rpc: 'rpc',
  presence: 'presence',
  map: 'map',
  signals: 'signals',
  unread: 'unread',
  receipts: 'receipts',
  explain: 'explain',
  edges: 'edges',
  tabs: 'tabs',
  react: 'react',
  vue: undefined,
  svelte: undefined,
  rxjs: undefined,
  angular: undefined,
  testing: 'testing',
};

const file = (name) => readFile(new URL(name, import.meta.url), 'utf8');

/** What is exported of a file of declarations: its comment and its text, by name. */
function declarations(text) {
  const found = new Map();
  // A declaration begins at the margin, and ends with its line or with a brace at the margin.
  const pattern =
    /(?:^\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^(export (?:declare )?\w+ (\w+)(?:.*[^{]\n|[\s\S]*?\n\}(?:.*[^{\n])?\n))/gm;
  for (const [, comment = '', code, name] of text.matchAll(pattern)) {
    found.set(name, { comment: comment.replace(/^ ?\* ?/gm, '').trim(), code });
  }
  return found;
}

/** The exports of an entry, those of other files under it too. */
async function exportsOf(entry) {
  const text = await file(`dist/esm/${entry}.d.ts`);
  const found = [...declarations(text)];
  for (const [, names, from] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/(\w+)\.js';$/gm)) {
    const there = declarations(await file(`dist/esm/${from}.d.ts`));
    for (const [name] of names.replaceAll('type ', '').matchAll(/\w+/g)) found.push([name, there.get(name)]);
  }
  return found;
}

const shown = (code) =>
  code
    .replace(/^export (declare )?/, '')
    .replace(/^ {4}#private;\n/gm, '')
    .replace(/^( {4})+/gm, (indent) => indent.slice(indent.length / 2))
    .trimEnd();

/** The text of API.md. Throws where something is exported that no comment explains. */
export async function reference() {
  const readme = await file('README.md');
  const lines = [
    '# API',
    '',
    'Made from the types by `npm run reference`; the [README](README.md) says how it is meant to be used.',
    '',
    ...Object.keys(ENTRIES).map((entry) => `- [\`${titleOf(entry)}\`](#${titleOf(entry).replace('/', '')})`),
  ];
  for (const [entry, example] of Object.entries(ENTRIES)) {
    lines.push('', `## ${titleOf(entry)}`);
    if (example) lines.push('', exampleOf(readme, example));
    for (const [name, { comment, code }] of await exportsOf(entry)) {
      if (!comment) throw new Error(`${titleOf(entry)} exports ${name}, and no comment says what it is`);
      lines.push('', `### ${name}`, '', comment, '', '```ts', shown(code), '```');
    }
  }
  return `${lines.join('\n')}\n`;
}

const titleOf = (entry) => (entry === 'index' ? 'roomcast' : `roomcast/${entry}`);

function exampleOf(readme, name) {
  const [, example] = new RegExp(`<!-- test: ${name} -->\\n(\`\`\`tsx?\\n[\\s\\S]*?\\n\`\`\`)`).exec(readme) ?? [];
  if (!example) throw new Error(`the README has no example "${name}"`);
  return example;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(new URL('API.md', import.meta.url), await reference());
}
