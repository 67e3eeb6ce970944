// What tests of a room's window share: events that are like one another, and what the pod says of its frames.

/** The position of a vehicle: event `n` of a room. */
export const position = (n) => ({
  n,
  vehicle: `tram-${n % 17}`,
  line: 'M10',
  lat: 52.5 + n / 7919,
  lon: 13.4 - n / 6101,
  status: 'in_transit',
  next: `stop-${(n * 13) % 90}`,
  occupancy: 'many_seats_available',
  note: 'the doors on the right side open at the next stop',
});

/** How many frames of rooms with a window went to receivers, by kind. */
export async function windowFrames(pod) {
  const text = await (await fetch(`${pod.internal}/metrics`)).text();
  const of = (kind) =>
    Number(text.match(new RegExp(`^roomcast_window_frames_total\\{kind="${kind}"\\} (\\d+)$`, 'm'))[1]);
  return { chained: of('chained'), keyframe: of('keyframe'), independent: of('independent') };
}

/** The share of the frames since `before` that were chained. */
export async function chainedShare(pod, before) {
  const now = await windowFrames(pod);
  const since = (kind) => now[kind] - before[kind];
  return since('chained') / (since('chained') + since('keyframe') + since('independent'));
}
