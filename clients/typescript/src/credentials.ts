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

export interface Credentials {
  /** The token that is presented. */
  token: string | undefined;
  /** Gets a token; two that ask at the same time get the same one. */
  get(): Promise<string | undefined>;
  /** From now on tokens come from there. */
  replace(source: TokenSource | undefined): void;
  /** The server does not take the token that was presented. */
  refuse(): void;
  isRefused(token: string | undefined): boolean;
}

export function credentials(source: TokenSource | undefined): Credentials {
  let asking: Promise<string | undefined> | undefined;
  /** `null`: none; `undefined` is a client without a token. */
  let refused: string | undefined | null = null;
  return {
    token: undefined,
    get() {
      if (asking) return asking;
      const mine = (async () => (typeof source === 'function' ? source() : source))();
      const done = () => {
        if (asking === mine) asking = undefined;
      };
      asking = mine;
      mine.then(done, done);
      return mine;
    },
    replace(next) {
      source = next;
      asking = undefined;
      refused = null;
    },
    refuse() {
      refused = this.token;
    },
    isRefused: (token) => token === refused,
  };
}
