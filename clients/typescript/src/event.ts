// Rooms, topics and events as types: what an application says of its rooms, and what it gets of them.

/** How much of a room's log a client has. The epoch is only to be kept and compared. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** Rooms of which nothing is known: any name, any topic, any data. */
export type AnyRooms = Record<string, AnyTopics>;
/** Topics of which nothing is known. */
export type AnyTopics = Record<string, unknown>;

/** The names of an application's rooms. `trip:${string}` is a pattern of names. */
export type RoomName<Rooms> = keyof Rooms & string;

/** The topics of a room. */
export type TopicName<Topics> = keyof Topics & string;

/** An event of a room. */
export interface RoomEvent<Topic extends string = string, Data = unknown> {
  /** What kind of event it is. */
  readonly topic: Topic;
  /** What its publisher sent; bytes are a `Uint8Array`. */
  readonly data: Data;
  /** What it is about, if its publisher said so. */
  readonly key?: string | undefined;
  /** When the server took it in: milliseconds since 1970, UTC. */
  readonly time: number;
  /** The user that published it, where a client with a token did. */
  readonly user?: string | undefined;
  /** Its publisher's own id of it. */
  readonly id?: string | undefined;
  /** Its number in its room; events that are in no log have none. */
  readonly offset?: number | undefined;
  /** Whether it is a value that the room kept, rather than news. */
  readonly retained: boolean;
}

/** Any event of a room: its `topic` tells the type of its `data`. */
export type EventOf<Topics> = {
  [Topic in TopicName<Topics>]: RoomEvent<Topic, Topics[Topic]>;
}[TopicName<Topics>];

/** An event as it travels. */
export interface WireEvent {
  readonly topic: string;
  readonly data?: unknown;
  readonly data64?: string;
  readonly key?: string;
  readonly time: number;
  readonly user?: string;
  readonly id?: string;
  readonly offset?: number;
}
