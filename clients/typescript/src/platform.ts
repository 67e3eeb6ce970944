// What the package asks of the place that it runs in: a browser, a worker, Node or React Native.
//
// Only shapes, and one look at `globalThis` when a client begins. Never assumes the types of a browser, nor that anything of
// it is there while the package is imported.

/** The part of `AbortSignal` that is used. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The part of a browser's `WebSocket` that is used. The class of npm `ws` fits as well. */
export interface WebSocketLike {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** `AbortSignal` as this place's own types have it, so that it can be handed on to `fetch`; its shape where they have none. */
export type NativeSignal = typeof globalThis extends { AbortSignal: { prototype: infer Native } } ? Native : Signal;

/** A class whose instances are sockets. */
export type WebSocketClass = new (url: string, protocols?: string | string[]) => WebSocketLike;

/** The part of an answer to `fetch` that is used. */
export interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  json(): Promise<unknown>;
}

/** The part of `fetch` that is used. */
export type Fetch = (
  url: string,
  request: {
    method?: 'POST';
    body?: string;
    headers?: Record<string, string>;
    cache?: 'no-store';
    credentials?: 'include';
    signal?: NativeSignal | undefined;
  },
) => Promise<Answer>;

/** A place for one remembered text: `localStorage`, or an application's own. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export interface Readable<T> {
  getReader(): { read(): Promise<{ readonly done: boolean; readonly value?: T }> };
}
export interface Writable {
  getWriter(): { write(bytes: Uint8Array): Promise<void> };
}
export interface WebTransportLike {
  readonly ready: Promise<unknown>;
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  readonly incomingUnidirectionalStreams: Readable<Readable<Uint8Array>>;
  readonly datagrams: { readonly readable: Readable<Uint8Array> };
  createBidirectionalStream(): Promise<{ readable: Readable<Uint8Array>; writable: Writable }>;
  close(how: { closeCode: number; reason: string }): void;
}

/** The part of Web Locks that is used. */
export interface Locks {
  request(name: string, held: () => unknown): Promise<unknown>;
}
export interface Channel<Said> {
  onmessage: ((event: { readonly data: Said }) => void) | null;
  postMessage(said: Said): void;
  close(): void;
}

/** What connections are made with, where an application may bring its own. Called as plain functions: browsers insist. */
export interface Means {
  readonly WebSocket?: WebSocketClass | undefined;
  readonly fetch?: Fetch | undefined;
}

/** What may be there. */
export interface Platform extends Means {
  WebTransport?: new (url: string, options: object) => WebTransportLike;
  DecompressionStream?: new (format: string) => { readable: Readable<Uint8Array>; writable: Writable };
  BroadcastChannel?: new <Said>(name: string) => Channel<Said>;
  navigator?: { readonly locks?: Locks };
  localStorage?: Storage;
  location?: { origin: string };
  document?: { visibilityState: string };
  performance?: { now(): number };
  crypto?: { getRandomValues(numbers: Uint32Array): Uint32Array };
  AbortController: new () => { readonly signal: NativeSignal; abort(): void };
  TextDecoder: new (label: string, options: { fatal: boolean }) => { decode(bytes: Uint8Array): string };
  TextEncoder: new () => { encode(text: string): Uint8Array };
  setTimeout(then: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  queueMicrotask(then: () => void): void;
  atob(text: string): string;
  btoa(text: string): string;
  reportError?(error: unknown): void;
  console: { error(error: unknown): void };
  addEventListener?(type: string, listener: () => void, until: { readonly signal: NativeSignal }): void;
}

/** What this place has. */
export const platform = globalThis as unknown as Platform;
