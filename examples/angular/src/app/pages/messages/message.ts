// A message of a conversation, as the page shows it.

/** `sent`: it is in the conversation's log, at `offset`. */
export type SendState = 'waiting' | 'failed' | 'sent';

/** What its author sees of it: `delivered` to a device of each other member, or `read` by each. */
export type MessageState = SendState | 'delivered' | 'read';

export interface Message {
  /** The author's own id of it: the same while it waits and when it is there. */
  readonly id: string;
  readonly author: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly state: SendState;
  readonly offset?: number;
  readonly problem?: string;
}
