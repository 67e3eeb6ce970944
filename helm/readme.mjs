// Writes the table of helm/roomcast/README.md from the comments of values.yaml: a line `# -- text` above a key is its row.
//
//   node helm/readme.mjs          writes it
//   node helm/readme.mjs --check  exits 1 if it is not up to date

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = (name) => fileURLToPath(new URL(`roomcast/${name}`, import.meta.url));
const [begin, end] = ['<!-- values: made by `node helm/readme.mjs` -->\n', '<!-- /values -->'];

/** The rows of a values file: `{path, fallback, text}` for each key that has a comment of its own. */
export function rows(text) {
  const lines = text.split('\n');
  const path = [];
  const found = [];
  let comment = null;
  for (const [at, line] of lines.entries()) {
    const said = line.match(/^\s*# -- (.*)$/);
    const key = line.match(/^(\s*)([A-Za-z][\w]*):\s*(.*)$/);
    if (!said && key) {
      path.splice(key[1].length / 2, Infinity, key[2]);
      if (comment !== null) found.push({ path: path.join('.'), fallback: fallback(lines, at, key), text: comment });
    }
    comment = said ? said[1] : null;
  }
  return found;
}

/** The value as it stands there; of a block, its lines in one. */
function fallback(lines, at, [, indent, , value]) {
  if (value) return value;
  const block = [];
  for (const line of lines.slice(at + 1)) {
    if (!line.startsWith(`${indent}  `)) break;
    if (line.trim().startsWith('# --')) return '';
    block.push(line.trim());
  }
  return `{${block.join(', ')}}`;
}

function table(text) {
  const cell = (text) => text.replaceAll('|', '\\|');
  const lines = rows(text).map(
    ({ path, fallback, text }) => `| \`${path}\` | ${fallback ? `\`${cell(fallback)}\`` : ''} | ${cell(text)} |`,
  );
  return ['| value | default | what it decides |', '| --- | --- | --- |', ...lines, ''].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const readme = readFileSync(file('README.md'), 'utf8');
  const [before, rest] = readme.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`README.md does not hold ${begin.trim()} and ${end}`);
  const written = before + begin + table(readFileSync(file('values.yaml'), 'utf8')) + end + after;
  if (process.argv.includes('--check')) {
    if (written !== readme) {
      console.error('helm/roomcast/README.md is not what values.yaml says: run `node helm/readme.mjs`');
      process.exitCode = 1;
    }
  } else {
    writeFileSync(file('README.md'), written);
  }
}
