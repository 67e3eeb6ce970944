// What the rooms carry, and what the backend says: the words that the page shares with the pods and with backend.mjs.

import type { Position } from 'roomcast';

export interface Person {
  readonly id: string;
  readonly name: string;
}

export interface ConversationInfo {
  readonly id: string;
  /** A conversation of two is called by the other one's name. */
  readonly title?: string;
  readonly members: readonly string[];
}

export type Status = 'online' | 'away' | 'busy' | 'offline';

export interface Post {
  readonly id: string;
  readonly author: string;
  readonly text: string;
  readonly created_at: string;
  readonly likes: number;
  readonly comments: number;
  /** Whether the user likes it. */
  readonly liked: boolean;
}

export interface PostComment {
  readonly id: string;
  readonly author: string;
  readonly text: string;
}

export interface Notice {
  readonly id: string;
  readonly type: 'like' | 'comment' | 'mention';
  readonly actor: { readonly id: string; readonly username: string };
  readonly post_id: string;
  /** How the post begins. */
  readonly text: string;
  readonly created_at: string;
}

interface Count {
  readonly post_id: string;
  readonly count: number;
}

export interface MessageTopics {
  new_message: { content: string };
}
export interface DeliveryTopics {
  /** The member has everything up to there on a device. */
  delivered: Position;
}
export interface PresenceTopics {
  presence: { user: string; status: Status; last_seen?: number };
}
export interface NotificationTopics {
  new_notification: Notice;
}
export interface FeedTopics {
  new_post: Post;
  like_count: Count;
  comment_count: Count;
}

/** The rooms of the preset `social`, and `delivered:*` of roomcast.toml. */
export interface SocialRooms {
  [conversation: `message:${string}`]: MessageTopics;
  [conversation: `delivered:${string}`]: DeliveryTopics;
  [user: `presence:${string}`]: PresenceTopics;
  [user: `notification:${string}`]: NotificationTopics;
  [feed: `feed:${string}`]: FeedTopics;
}
