// Writes helm/roomcast/dashboards/roomcast.json, Grafana's dashboard: a row for each question that an operator has, a line for each panel.
//
//   node helm/dashboard.mjs          writes it
//   node helm/dashboard.mjs --check  exits 1 if it is not up to date

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const target = fileURLToPath(new URL('roomcast/dashboards/roomcast.json', import.meta.url));

/** What selects the pods, and how long a rate looks back: Grafana fills both in. */
const pods = 'namespace="$namespace",pod=~"$pod"';
const all = (name, more = '') => `${name}{${pods}${more}}`;
const rate = (name, more = '') => `rate(${all(name, more)}[$__rate_interval])`;
const sum = (by, expr) => `sum${by ? ` by (${by})` : ''} (${expr})`;
const quantile = (q, name, by = '') =>
  `histogram_quantile(${q}, sum by (le${by ? `, ${by}` : ''}) (${rate(`${name}_bucket`)}))`;

/** A row: its title, and its panels as `[title, unit, description, {legend: query}, what else Grafana is told of its field]`. */
const ROWS = [
  [
    'Is it well?',
    [
      [
        'Pods',
        'short',
        'Pods that answer Prometheus, ready or not.',
        { pods: sum('', `max by (pod) (${all('roomcast_build_info')})`) },
      ],
      [
        'Not as it should be',
        'short',
        'roomcast_degraded, by reason: how many pods.',
        { '{{reason}}': sum('reason', all('roomcast_degraded')) },
      ],
      [
        'Trouble with Redis',
        'short',
        'roomcast_redis_trouble, by reason: how many pods.',
        { '{{reason}}': sum('reason', all('roomcast_redis_trouble')) },
      ],
      [
        'Age of the canary',
        's',
        'Since what a pod publishes to itself came back. Above 6 s a master is deaf or away.',
        { '{{pod}}': `max by (pod) (${all('roomcast_redis_canary_age_seconds')})` },
      ],
      [
        'Certificate: time left',
        's',
        'The least of all pods that have one. Below 0: it has run out.',
        // 0 where there is none.
        { left: `min (${all('roomcast_certificate_expires_seconds')} != 0)` },
        { min: undefined },
      ],
    ],
  ],
  [
    'Clients',
    [
      [
        'Connections',
        'short',
        'By transport and dialect.',
        { '{{transport}} {{dialect}}': sum('transport, dialect', all('roomcast_connections')) },
      ],
      [
        'Connections of each pod',
        'short',
        'A new pod gets none from the old ones.',
        { '{{pod}}': sum('pod', all('roomcast_connections')) },
      ],
      ['Rooms of each pod', 'short', 'With a member on the pod.', { '{{pod}}': sum('pod', all('roomcast_rooms')) }],
      [
        'Handshakes',
        'reqps',
        'By stage and result: what is not ok was refused or failed. full: by the pod; address: by the limit of a client address.',
        { '{{stage}} {{result}}': sum('stage, result', rate('roomcast_handshakes_total')) },
      ],
      [
        'Connections that end',
        'reqps',
        'By close code. 4008: too slow. 4009: the network. 1011: a fault of the pod. 1012: a drain.',
        { '{{code}}': sum('code', rate('roomcast_disconnects_total')) },
      ],
      [
        'Tokens',
        'reqps',
        'By result; outage: no keys to judge by.',
        { '{{result}}': sum('result', rate('roomcast_tokens_total')) },
      ],
    ],
  ],
  [
    'Events',
    [
      ['Events in', 'cps', 'By source.', { '{{source}}': sum('source', rate('roomcast_events_in_total')) }],
      ['Deliveries', 'cps', 'Events times receivers.', { deliveries: sum('', rate('roomcast_deliveries_total')) }],
      [
        'From publish to the last write',
        's',
        'Of a batch on a worker, the batch window included.',
        {
          p50: quantile(0.5, 'roomcast_publish_to_write_seconds'),
          p99: quantile(0.99, 'roomcast_publish_to_write_seconds'),
        },
      ],
      [
        'Fan-out',
        's',
        'How long one took on a worker.',
        { p50: quantile(0.5, 'roomcast_fan_out_seconds'), p99: quantile(0.99, 'roomcast_fan_out_seconds') },
      ],
      [
        'Bytes sent',
        'Bps',
        'plain: before compression; framed: as they leave.',
        { '{{stage}}': sum('stage', rate('roomcast_sent_bytes_total')) },
      ],
      [
        'Recoveries',
        'cps',
        'Subscriptions with a position: recovered exactly, or gone.',
        { '{{outcome}}': sum('outcome', rate('roomcast_recoveries_total')) },
      ],
    ],
  ],
  [
    'What does not keep up',
    [
      [
        'Frames that slow clients lost',
        'cps',
        'Each is told by a gap.',
        { '{{pod}}': sum('pod', rate('roomcast_dropped_frames_total')) },
      ],
      [
        'Holes between owner and worker',
        'cps',
        'Filled from history, or told.',
        { '{{pod}}': sum('pod', rate('roomcast_stream_holes_total')) },
      ],
      [
        'Held and owed bytes',
        'bytes',
        'held: what the pod really holds, against memory_budget; owed: each frame in full for each receiver.',
        {
          'held {{pod}}': sum('pod', all('roomcast_held_bytes')),
          'owed {{pod}}': sum('pod', all('roomcast_owed_bytes')),
        },
      ],
      [
        'Limits in use',
        'percentunit',
        'The fullest pod. At 1 clients are refused.',
        { '{{limit}}': `max by (limit) (${all('roomcast_limit_used')} / ${all('roomcast_limit')})` },
      ],
      [
        'Refused by limits',
        'cps',
        'Clients that were refused, or sockets that ended for newcomers.',
        { '{{limit}}': sum('limit', rate('roomcast_limit_refused_total')) },
      ],
      ['Slow sockets', 'cps', 'Ended by a clock.', { '{{clock}}': sum('clock', rate('roomcast_slow_sockets_total')) }],
    ],
  ],
  [
    'Redis',
    [
      [
        'Commands',
        'cps',
        'By command and result.',
        { '{{command}} {{result}}': sum('command, result', rate('roomcast_redis_commands_total')) },
      ],
      [
        'Time of a command, p99',
        's',
        'Retries included.',
        { '{{command}}': quantile(0.99, 'roomcast_redis_command_seconds', 'command') },
      ],
      [
        'Subscriptions',
        'short',
        'Wanted channels, by state.',
        { '{{state}}': sum('state', all('roomcast_redis_subscriptions')) },
      ],
      [
        'Reconnects and moved slots',
        'cps',
        '',
        {
          reconnects: sum('', rate('roomcast_redis_reconnects_total')),
          topology: sum('', rate('roomcast_redis_topology_changes_total')),
        },
      ],
    ],
  ],
  [
    'Backend, archive, edges',
    [
      [
        'Questions to the backend',
        'reqps',
        'By hook and result. failed, timeout, bad_answer, full: the client was refused. Only pods with hooks have it.',
        { '{{hook}} {{result}}': sum('hook, result', rate('roomcast_hook_questions_total')) },
      ],
      [
        'Questions under way',
        'short',
        'Against hooks.in_flight and hooks.rpc_in_flight.',
        {
          'questions {{pod}}': sum('pod', all('roomcast_hook_in_flight')),
          'calls {{pod}}': sum('pod', all('roomcast_hook_calls_in_flight')),
        },
      ],
      [
        'Events of the archive',
        'cps',
        'kept; refused: 503, nothing was published; unconfirmed: 504, left to the repair.',
        { '{{outcome}}': sum('outcome', rate('roomcast_archive_events_total')) },
      ],
      [
        'Rows that the archive looks after',
        'short',
        'Of the whole fleet. unknown must be 0.',
        {
          pending: `max (${all('roomcast_archive_pending')})`,
          unknown: `max (${all('roomcast_archive_unknown')})`,
        },
      ],
      [
        'Links between edges and home',
        'short',
        'up, down: those of edges to their home; edges: those that homes have.',
        {
          '{{state}}': sum('state', all('roomcast_upstream_links')),
          edges: sum('', all('roomcast_relay_edges')),
        },
      ],
      [
        'What homes refuse edges, and links that they cut',
        'cps',
        'By reason.',
        {
          'refused {{reason}}': sum('reason', rate('roomcast_relay_refused_total')),
          'cut {{reason}}': sum('reason', rate('roomcast_relay_cut_total')),
        },
      ],
    ],
  ],
  [
    'The machine',
    [
      ['CPU of each pod', 'percentunit', 'Of one core.', { '{{pod}}': sum('pod', rate('process_cpu_seconds_total')) }],
      [
        'CPU of each worker',
        'percentunit',
        'One at 1 has no time left.',
        { '{{pod}} {{worker}}': sum('pod, worker', rate('roomcast_worker_cpu_seconds_total')) },
      ],
      ['Memory of each pod', 'bytes', 'Resident.', { '{{pod}}': sum('pod', all('process_resident_memory_bytes')) }],
      ['Open files of each pod', 'short', '', { '{{pod}}': sum('pod', all('process_open_fds')) }],
    ],
  ],
];

const WIDTH = 8;
const HEIGHT = 7;
const source = { type: 'prometheus', uid: '$datasource' };

function panels() {
  const made = [];
  let y = 0;
  for (const [title, row] of ROWS) {
    made.push({ type: 'row', title, collapsed: false, panels: [], gridPos: { x: 0, y, w: 24, h: 1 } });
    y += 1;
    for (const [n, [title, unit, description, queries, more = {}]] of row.entries()) {
      const targets = Object.entries(queries).map(([legendFormat, expr], n) => {
        return { refId: String.fromCharCode(65 + n), datasource: source, expr, legendFormat };
      });
      made.push({
        type: 'timeseries',
        title,
        description,
        datasource: source,
        gridPos: { x: (n % 3) * WIDTH, y: y + Math.floor(n / 3) * HEIGHT, w: WIDTH, h: HEIGHT },
        fieldConfig: {
          defaults: { unit, min: 0, custom: { fillOpacity: 10, showPoints: 'never' }, ...more },
          overrides: [],
        },
        options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
        targets,
      });
    }
    y += Math.ceil(row.length / 3) * HEIGHT;
  }
  return made.map((panel, n) => ({ id: n + 1, ...panel }));
}

function variable(name, label) {
  const query = `label_values(roomcast_build_info${name === 'pod' ? '{namespace="$namespace"}' : ''}, ${name})`;
  const more = name === 'pod' ? { multi: true, includeAll: true, allValue: '.*' } : {};
  return {
    type: 'query',
    name,
    label,
    datasource: source,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    ...more,
  };
}

export function dashboard() {
  return {
    uid: 'roomcast',
    title: 'roomcast',
    tags: ['roomcast'],
    timezone: 'browser',
    schemaVersion: 39,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    graphTooltip: 1,
    templating: {
      list: [
        { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' },
        variable('namespace', 'Namespace'),
        variable('pod', 'Pod'),
      ],
    },
    panels: panels(),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const written = `${JSON.stringify(dashboard(), null, 1)}\n`;
  if (!process.argv.includes('--check')) {
    mkdirSync(new URL('roomcast/dashboards', import.meta.url), { recursive: true });
    writeFileSync(target, written);
  } else if (written !== readFileSync(target, 'utf8')) {
    console.error('helm/roomcast/dashboards/roomcast.json is out of date: run `node helm/dashboard.mjs`');
    process.exitCode = 1;
  }
}
