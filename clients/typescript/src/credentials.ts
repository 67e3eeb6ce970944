// Where tokens come from.
//
// Always holds: the application's function runs once at a time; a token that was refused is not presented again.

/** A token, or a function that gets a new one: from the application's backend, say. `undefined` is a client without one. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

/** Before a token ends, a new one is fetched: a fifth of its life before, at most this long. */
const BEFORE_END = 120_000;
const SOONEST = 1_000;

/** Milliseconds from now until a token that ends at `expiresAt` is replaced. */
export function renewIn(expiresAt: number, now: number): number {
  const left = expiresAt - now;
  return Math.max(left - Math.min(left / 5, BEFORE_END), SOONEST);
}

export class Credentials {
  #source: TokenSource | undefined;
  #asking: Promise<string | undefined> | undefined;
  #refused: string | undefined;
  #isRefused = false;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /** From now on tokens come from there. */
  replace(source: TokenSource | undefined): void {
    this.#source = source;
    this.#asking = undefined;
    this.#isRefused = false;
  }

  /** A token; two that ask at the same time get the same one. */
  get(): Promise<string | undefined> {
    if (this.#asking) return this.#asking;
    const source = this.#source;
    const asking = (async () => (typeof source === 'function' ? source() : source))();
    const done = () => {
      if (this.#asking === asking) this.#asking = undefined;
    };
    this.#asking = asking;
    asking.then(done, done);
    return asking;
  }

  /** The server does not take it. */
  refuse(token: string | undefined): void {
    this.#refused = token;
    this.#isRefused = true;
  }

  isRefused(token: string | undefined): boolean {
    return this.#isRefused && this.#refused === token;
  }
}
