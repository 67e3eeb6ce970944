// The pod's own page in Chromium, watched: what it complains about, whom it talks to, and its WebSocket in the test's hands.

import assert from 'node:assert/strict';

/**
 * Opens the page of a pod. `rooms` are joined by the address. `wire`, if given, is called for each WebSocket with
 * playwright's route and the pod's side of it, and may change what passes.
 */
export async function openPage(browser, pod, { rooms = [], wire, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await watch(await context.newPage());
  if (wire) await page.routeWebSocket(/\/ws$/, wire);
  const hash = rooms.length > 0 ? `#${rooms.map(encodeURIComponent).join(',')}` : '';
  await page.goto(`http://localhost:${pod.plainPort}/${hash}`);
  await page.waitForSelector('body[data-state=open]');
  await page.waitForFunction(
    (wanted) => {
      const all = [...window.roomcast.client.rooms.values()];
      return all.length >= wanted && all.every(({ status }) => status !== 'joining');
    },
    Math.max(rooms.length, 1),
  );
  return page;
}

/** Notes what a page complains about, and whom it talks to. */
export async function watch(page) {
  page.complaints = [];
  page.requested = [];
  page.on('console', (line) => {
    if (['error', 'warning'].includes(line.type())) page.complaints.push(line.text());
  });
  page.on('pageerror', (error) => page.complaints.push(`${error.stack}`));
  page.on('request', (request) => page.requested.push(request.url()));
  page.on('websocket', (socket) => page.requested.push(socket.url()));
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      window.violations.push(`${violatedDirective} ${blockedURI}`);
    });
  });
  return page;
}

/** Nothing went wrong that the test did not ask for. */
export async function assertQuiet(page) {
  assert.deepEqual(page.complaints, []);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
}

/** The rows of the event list, the newest first: what stands in each. */
export function rows(page) {
  return page.$$eval('#events [role=option]', (all) =>
    all.map((row) => ({
      room: row.parentElement.querySelector('.chip').textContent,
      offset: Number(row.querySelector('.offset').textContent.replaceAll(',', '')),
      topic: row.querySelector('.topic').textContent,
      key: row.querySelector('.key').textContent,
      data: row.querySelector('.preview').textContent,
      trip: row.querySelector('.trip.own')?.textContent ?? null,
    })),
  );
}

/** Waits for a row in which `wanted` holds, and returns it. */
export async function row(page, wanted, what) {
  for (const deadline = Date.now() + 8_000; Date.now() < deadline; ) {
    const found = (await rows(page)).find(wanted);
    if (found) return found;
    await page.waitForTimeout(30);
  }
  throw new Error(
    `no row with ${what}; there are:\n${(await rows(page)).map((row) => JSON.stringify(row)).join('\n')}`,
  );
}

/** Waits until an element's text matches. */
export async function reads(page, selector, pattern) {
  let text;
  for (const deadline = Date.now() + 8_000; Date.now() < deadline; ) {
    text = await page.textContent(selector);
    if (pattern.test(text)) return text;
    await page.waitForTimeout(30);
  }
  throw new Error(`${selector} reads ${JSON.stringify(text)}, not ${pattern}`);
}
