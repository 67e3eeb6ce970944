// What the package `roomcast` offers.

export { Client, type RoomSummary } from './client.js';
export type { Clock } from './clock.js';
export type { TokenSource } from './credentials.js';
export { type ErrorCode, type LocalErrorCode, RoomcastError, type ServerErrorCode } from './error.js';
export type { AnyRooms, AnyTopics, EventOf, Position, RoomEvent, RoomName, TopicName } from './event.js';
export type { ClientState } from './line.js';
export type { Dialing, Link, LinkEvents, Transport } from './link.js';
export type { Command, Limits, Member, Message, ReadRoom, Receipt } from './message.js';
export type { ClientOptions, TransportName } from './options.js';
export type { Answer, Fetch, Means, NativeSignal, Signal, Storage, WebSocketClass, WebSocketLike } from './platform.js';
export type { Attempt } from './race.js';
export type { RoomState, Why } from './room.js';
export type {
  Load,
  LoadContext,
  SubscribeOptions,
  Subscription,
} from './subscription.js';
