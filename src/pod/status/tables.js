// The tables: rows are made once and changed, so that a reader's place and a selection stay.

import { bytes, clockOf, count, el, say, span } from '../page/element.js';

/** From a lag of so many milliseconds on, what comes over a link is late. */
const LATE = 2_000;

const NAMES = {
  connections: 'Connections',
  memory: 'Bytes in queues',
  process_memory: 'Memory of the process',
  files: 'Files of sockets',
  waiting_sockets: 'Sockets that wait',
  addresses: 'One address',
  quic_handshakes: 'QUIC handshakes',
  unused_sessions: 'Unused sessions',
  accept: 'Failed accepts',
};
const IN_BYTES = new Set(['memory', 'process_memory']);
const TRANSPORTS = {
  websocket: 'WebSocket',
  webtransport: 'WebTransport',
  poll: 'Long-poll',
  polling: 'Polling (Socket.IO)',
  sse: 'Event stream',
};

/** A table whose rows have keys and cells. */
class Table {
  #rows = new Map();

  constructor(table) {
    this.body = table.querySelector('tbody');
  }

  /** `rows`: `{key, own, cells}`; a cell is a text, `{number}`, `{share}` from 0 to 1, `{code}` or `{mark, tone}`. */
  show(rows) {
    const gone = new Set(this.#rows.keys());
    for (const { key, own, cells } of rows) {
      gone.delete(key);
      let row = this.#rows.get(key);
      if (!row) {
        row = el('tr', {}, ...cells.map(fresh));
        this.#rows.set(key, row);
        this.body.append(row);
      }
      row.classList.toggle('own', own === true);
      for (const [n, cell] of cells.entries()) change(row.children[n], cell);
    }
    for (const key of gone) {
      this.#rows.get(key).remove();
      this.#rows.delete(key);
    }
    // The order is that of the figures.
    rows.forEach(({ key }, n) => {
      const row = this.#rows.get(key);
      if (this.body.children[n] !== row) this.body.insertBefore(row, this.body.children[n] ?? null);
    });
  }
}

function fresh(cell) {
  if (cell?.share !== undefined)
    return el('td', { class: 'share' }, el('span', { class: 'bar', role: 'img' }, el('span')));
  if (cell?.number !== undefined) return el('td', { class: 'number' });
  if (cell?.code !== undefined) return el('td', {}, el('code'));
  return el('td', {}, el('span', cell?.mark === undefined ? {} : { class: 'mark' }));
}

function change(td, cell) {
  if (cell?.share !== undefined) {
    const bar = td.firstChild;
    const share = cell.share === null ? 0 : Math.min(1, cell.share);
    bar.hidden = cell.share === null;
    bar.firstChild.style.width = `${share * 100}%`;
    bar.dataset.full = cell.tone ?? '';
    bar.setAttribute('aria-label', `${Math.round(share * 100)} %`);
  } else if (cell?.number !== undefined) say(td, cell.number);
  else if (cell?.code !== undefined) say(td.firstChild, cell.code);
  else if (cell?.mark !== undefined) {
    td.firstChild.className = `mark ${cell.tone ?? ''}`;
    say(td.firstChild, cell.mark);
  } else say(td.firstChild, cell ?? '');
}

export class Tables {
  constructor($) {
    this.$ = $;
    this.carried = new Table($('carried'));
    this.limits = new Table($('limits'));
    this.masters = new Table($('masters'));
    this.links = new Table($('links'));
    this.edges = new Table($('edges'));
    this.pods = new Table($('pods'));
  }

  show(status) {
    this.#carried(status);
    this.#limits(status);
    this.#masters(status.redis);
    this.#tree(status.tree);
  }

  #carried({ carried, connections }) {
    const sorted = [...carried].sort((a, b) => b.connections - a.connections);
    this.carried.show(
      sorted.map((one) => ({
        key: `${one.transport} ${one.dialect}`,
        cells: [
          TRANSPORTS[one.transport] ?? one.transport,
          one.dialect,
          { number: count(one.connections) },
          { share: one.connections / Math.max(1, connections) },
        ],
      })),
    );
    this.$('no-connections').hidden = sorted.length > 0;
    this.$('carried').hidden = sorted.length === 0;
  }

  #limits({ limits }) {
    this.limits.show(
      limits.map(({ name, used, limit, refused, bites }) => {
        const figure = (n) => (n === null ? '–' : IN_BYTES.has(name) ? bytes(n) : count(n));
        const share = limit ? used / limit : null;
        const tone = bites ? 'full' : share >= 0.8 ? 'near' : '';
        const mark = bites
          ? { mark: 'refuses', tone: 'bad' }
          : tone === 'near'
            ? { mark: 'near', tone: 'caution' }
            : { mark: 'well', tone: 'off' };
        return {
          key: name,
          cells: [
            NAMES[name] ?? name,
            { number: figure(used) },
            { number: figure(limit) },
            { share, tone },
            { number: count(refused) },
            mark,
          ],
        };
      }),
    );
    const biting = limits.filter(({ bites }) => bites).length;
    say(
      this.$('limits-more'),
      biting ? `${biting} of them ${biting === 1 ? 'refuses' : 'refuse'} clients now` : 'none refuses clients now',
    );
  }

  #masters(redis) {
    this.$('no-redis').hidden = redis !== null;
    this.$('redis-some').hidden = redis === null;
    say(this.$('redis-state'), redis?.state ?? '');
    this.$('redis-state').className = `badge ${redis?.state === 'well' ? 'good' : 'bad'}`;
    if (!redis) return;
    this.masters.show(
      redis.masters.map(({ address, subscribed, commanded, canary_ms: canary, troubles, error }) => ({
        key: address,
        cells: [
          { code: address },
          subscribed ? { mark: 'come', tone: '' } : { mark: 'do not come', tone: 'bad' },
          commanded ? { mark: 'go', tone: '' } : { mark: 'do not go', tone: 'bad' },
          { number: canary === null ? '–' : `${(canary / 1000).toFixed(1)} s` },
          troubles.length || error
            ? { mark: [troubles.join(', '), error].filter(Boolean).join(': '), tone: 'bad' }
            : { mark: 'nothing', tone: 'off' },
        ],
      })),
    );
    const missing = redis.unconfirmed ? `, ${count(redis.unconfirmed)} missing` : '';
    const unowned = redis.unowned_slots ? `; ${count(redis.unowned_slots)} slots have no owner` : '';
    say(this.$('subscriptions'), `${count(redis.confirmed)} subscriptions stand${missing}${unowned}`);
  }

  #tree(tree) {
    this.$('tree').hidden = tree === null;
    if (!tree) return;
    const { role, above, links, edges, edge_links: all } = tree;
    say(this.$('role'), role);
    const cut = links.filter(({ pod }) => pod === null).length;
    this.$('role').className = `badge ${cut > 0 ? 'bad' : 'good'}`;
    say(this.$('tree-more'), above.length ? `above it: ${above.join(', ')}` : '');
    this.$('links-some').hidden = links.length === 0;
    this.links.show(
      links.map(({ home, pod, since_ms: since, error, rooms, lag_ms: lag, ...link }) => ({
        key: home,
        cells: [
          { code: home },
          pod === null
            ? { mark: `down: ${error ?? 'it is being made'}`, tone: 'bad' }
            : Math.max(lag, link.round_trip_ms) >= LATE
              ? { mark: 'lags', tone: 'caution' }
              : { mark: link.leads ? 'stands, and leads' : 'stands', tone: '' },
          clockOf(since),
          { number: count(rooms) },
          { number: span(lag) },
          { number: bytes(link.bytes_in) },
          { number: bytes(link.bytes_out) },
        ],
      })),
    );
    this.$('edges-some').hidden = edges.length === 0;
    this.edges.show(
      edges.map(({ pod, since_ms: since, rooms, queued_bytes: waits, dropped, ...link }, n) => ({
        // An edge that came back may have two links for a moment.
        key: `${pod} ${edges.slice(0, n).filter((other) => other.pod === pod).length}`,
        cells: [
          { code: pod },
          clockOf(since),
          { number: count(rooms) },
          { number: bytes(waits) },
          { number: count(dropped) },
          { number: bytes(link.bytes_in) },
          { number: bytes(link.bytes_out) },
        ],
      })),
    );
    if (role !== 'edge') {
      const more = all > edges.length ? `, of which ${edges.length} are shown` : '';
      const follow = `${count(all)} ${all === 1 ? 'link of an edge' : 'links of edges'}${more}`;
      say(this.$('tree-more'), [this.$('tree-more').textContent, follow].filter(Boolean).join('; '));
    }
  }

  fleet({ pods, silent, connections, max_connections: most }, own) {
    const tones = { ready: '', degraded: 'caution', starting: 'caution', draining: 'caution', overloaded: 'bad' };
    this.pods.show(
      pods.map((pod) => {
        const share = pod.connections / Math.max(1, pod.max_connections);
        const rooms = pod.workers.reduce((sum, worker) => sum + worker.rooms, 0);
        return {
          key: pod.pod,
          own: pod.pod === own,
          cells: [
            { code: pod.pod === own ? `${pod.pod} (this one)` : pod.pod },
            { mark: pod.readiness, tone: tones[pod.readiness] ?? 'bad' },
            { number: count(pod.connections) },
            { share, tone: share >= 1 ? 'full' : share >= 0.8 ? 'near' : '' },
            { number: count(rooms) },
            { number: bytes(pod.queues.held_bytes) },
            { number: bytes(pod.memory.used_bytes) },
            { number: clockOf(pod.uptime_ms) },
            pod.version,
          ],
        };
      }),
    );
    const many = pods.length === 1 ? '1 pod' : `${pods.length} pods`;
    say(this.$('fleet-more'), `${many}, ${count(connections)} of ${count(most)} connections`);
    say(this.$('silent'), silent.length ? `No answer from ${silent.join(', ')}` : '');
  }
}
