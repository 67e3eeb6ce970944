// The summary of a run: JSON for programs, one HTML page for people, and a few lines on the terminal.

import { settings } from './settings.js';

const CSS = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #d8dee6}
th:first-child,td:first-child{text-align:left}.ok{color:#17693a}.failed{color:#a61b1b;font-weight:600}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#12181f}th,td{border-color:#2c3743}.ok{color:#6ed59a}.failed{color:#ff8f8f}}`;

const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const rounded = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));

/** `handleSummary` of a scenario. */
export const summary = (scenario) => (data) => {
  const name = `${settings.out}/${scenario}-${settings.dialect}`;
  const own = Object.entries(data.metrics).filter(
    ([metric]) => metric.startsWith('roomcast_') || metric === 'dropped_iterations',
  );
  own.sort(([a], [b]) => (a < b ? -1 : 1));
  const judged = own.flatMap(([metric, { thresholds = {} }]) =>
    Object.entries(thresholds).map(([bound, { ok }]) => ({ metric, bound, ok })),
  );
  const { url, vus, sockets, rooms, rate, seconds } = settings;
  const run = { scenario, dialect: settings.dialect, url, connections: vus * sockets, rooms, rate, seconds };
  const measured = Object.fromEntries(own.map(([metric, { type, values }]) => [metric, { type, ...values }]));
  const json = JSON.stringify({ run, ok: judged.every(({ ok }) => ok), thresholds: judged, measured }, null, 2);
  return { [`${name}.json`]: `${json}\n`, [`${name}.html`]: html(run, judged, own), stdout: text(run, judged, own) };
};

function html(run, judged, own) {
  const trends = own.filter(([, { type }]) => type === 'trend');
  const others = own.filter(([, { type }]) => type !== 'trend');
  const stats = ['min', 'med', 'p(95)', 'p(99)', 'max', 'count'];
  const title = `${run.scenario}, ${run.dialect}: ${run.connections} connections, ${run.rate} events/s, ${run.seconds} s`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title><style>${CSS}</style>
<h1>${escaped(title)}</h1><p>${escaped(run.url)}, ${run.rooms} room(s)</p>
<h2>Bounds</h2><table><tr><th>measure<th>bound<th>kept</tr>
${judged.map(({ metric, bound, ok }) => `<tr><td>${escaped(metric)}<td>${escaped(bound)}<td class="${ok ? 'ok">yes' : 'failed">no'}</tr>`).join('\n')}</table>
<h2>Times, ms</h2><table><tr><th>measure${stats.map((stat) => `<th>${stat}`).join('')}</tr>
${trends.map(([metric, { values }]) => `<tr><td>${escaped(metric)}${stats.map((stat) => `<td>${rounded(values[stat] ?? 0)}`).join('')}</tr>`).join('\n')}</table>
<h2>Counts</h2><table><tr><th>measure<th>value</tr>
${others.map(([metric, { values }]) => `<tr><td>${escaped(metric)}<td>${rounded(values.count ?? values.rate ?? 0)}</tr>`).join('\n')}</table></html>
`;
}

function text(run, judged, own) {
  const lines = own.map(([metric, { type, values }]) => {
    const figures =
      type === 'trend'
        ? `med ${rounded(values.med)}  p95 ${rounded(values['p(95)'])}  p99 ${rounded(values['p(99)'])}  max ${rounded(values.max)} ms`
        : rounded(values.count ?? values.rate ?? 0);
    return `  ${metric.padEnd(28)} ${figures}`;
  });
  const broken = judged.filter(({ ok }) => !ok).map(({ metric, bound }) => `  BROKEN: ${metric} ${bound}`);
  return `${run.scenario}, ${run.dialect}, ${run.connections} connections, ${run.rate} events/s\n${[...lines, ...broken].join('\n')}\n`;
}
