// Which edges there are, as a server lists them (`GET /edges`): for a client that goes to the nearest one.
//
// Always holds: a server that lists none, or does not answer, is itself the answer.

import { endpointOf } from './choice.js';
import { type Fetch, platform } from './platform.js';

/** How long a server is waited for. */
const WITHIN = 2_000;

/** How edges are asked for. */
export interface EdgeOptions {
  /** Instead of the `fetch` of this place. */
  readonly fetch?: Fetch | undefined;
  /** For how many milliseconds the server is waited for; 2,000 unless told otherwise. */
  readonly within?: number | undefined;
}

/**
 * The addresses of the edges that the server at `url` lists, and its own: for `url` of a client, which takes the one that answers first. It
 * never rejects for want of an answer: then the server's own address is all there is.
 */
export async function edges(url: string, options: EdgeOptions = {}): Promise<string[]> {
  const { fetch = platform.fetch as Fetch, within = WITHIN } = options;
  const own = endpointOf(url, platform.location?.origin);
  const stop = new platform.AbortController();
  const timer = platform.setTimeout(() => stop.abort(), within);
  try {
    const answer = await fetch(`${own}/edges`, { signal: stop.signal });
    const { edges: listed } = (await answer.json()) as { edges: { url: string }[] };
    return [...new Set([...listed.map((edge) => endpointOf(edge.url, undefined)), own])];
  } catch {
    return [own];
  } finally {
    platform.clearTimeout(timer);
  }
}
