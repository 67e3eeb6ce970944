// A reporter for `node --test --experimental-test-coverage`: how much of the TypeScript client the tests run through, file by file.
//
// Fails below the bar. What runs in a browser only (WebTransport) counts as not covered here: Node's coverage does not reach there.

import { fileURLToPath } from 'node:url';

/** Of 100 lines so many. */
const LEAST = 90;
const client = fileURLToPath(new URL('../../../clients/typescript/dist/esm/', import.meta.url));

const share = (covered, total) => (total > 0 ? (100 * covered) / total : 100);
const row = (name, { lines, branches, functions }) =>
  `${name.padEnd(20)} ${[lines, branches, functions]
    .map((part) =>
      share(...part)
        .toFixed(1)
        .padStart(9),
    )
    .join('')}\n`;

const partsOf = (file) => ({
  lines: [file.coveredLineCount, file.totalLineCount],
  branches: [file.coveredBranchCount, file.totalBranchCount],
  functions: [file.coveredFunctionCount, file.totalFunctionCount],
});

const sum = (all, part) => [0, 1].map((at) => all.reduce((total, one) => total + one[part][at], 0));

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === 'test:fail' && data.details.error.failureType !== 'subtestsFailed') {
      process.exitCode = 1;
      yield `failed: ${data.file}: ${data.name}: ${data.details.error.cause?.message ?? data.details.error}\n`;
    }
    if (type !== 'test:coverage') continue;
    const files = data.summary.files.filter(({ path }) => path.startsWith(client));
    const all = files.map((file) => [file.path.slice(client.length), partsOf(file)]);
    yield `${'file'.padEnd(20)}    lines branches functions, %\n`;
    for (const [name, parts] of all.sort(([one], [other]) => (one < other ? -1 : 1))) yield row(name, parts);
    const parts = all.map(([, parts]) => parts);
    const whole = Object.fromEntries(['lines', 'branches', 'functions'].map((part) => [part, sum(parts, part)]));
    yield row('all', whole);
    if (!(all.length > 0 && share(...whole.lines) >= LEAST)) {
      process.exitCode = 1;
      yield `of 100 lines less than ${LEAST} are covered\n`;
    }
  }
}
