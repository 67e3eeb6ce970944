// What an application's backend would be: who there is, tokens, posts, and what it tells the pods. It keeps everything in memory.
//
// Never has a connection of a page: those are the pods'. Always holds: what is said of the feed contains every event up to the position
// that is said with it.

import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';

/** A token is good for five minutes; the client gets a newer one by itself. */
const TOKEN_SECONDS = 300;
const FEED = 'feed:home';
const MOST_POSTS = 100;
const MENTION = /@(\p{L}+)/gu;

const PEOPLE = ['Ann', 'Bob', 'Cem', 'Dana', 'Eve', 'Fred'].map((name) => ({ id: name.toLowerCase(), name }));
const GROUP = { id: 'garden', title: 'The garden', members: ['ann', 'bob', 'cem', 'dana'] };
const MINUTE = 60_000;
const OPENING = [
  ['dana', 'The first tomatoes are red. Whoever is near the garden: take some.', 190],
  ['cem', 'Does one of you still have the long ladder?', 95],
  ['eve', 'Slow bread, day three: the crust sings.', 24],
];

/** The conversations that a person is in: one with each of the others, and the group. */
function conversationsOf(user) {
  const others = PEOPLE.filter(({ id }) => id !== user);
  const pairs = others.map(({ id }) => [user, id].sort()).map((members) => ({ id: members.join('-'), members }));
  return [...(GROUP.members.includes(user) ? [GROUP] : []), ...pairs];
}

export class Backend {
  /** `secret` signs tokens; `api` asks a pod; `pods` is where pages find them. */
  constructor({ secret, api, pods }) {
    Object.assign(this, { secret, api, pods });
    this.posts = OPENING.map(([author, text, minutes]) => postOf(author, text, Date.now() - minutes * MINUTE));
    /** What changes the feed waits for what came before. */
    this.turn = Promise.resolve();
  }

  /** Answers a request of a page with a status and a value. */
  async answer({ method, path, parameters, body, token }) {
    const route = `${method} ${path.replace(/^(\/api\/posts\/)[^/]+/, '$1:id')}`;
    if (route === 'GET /api/people') return [200, PEOPLE];
    if (route === 'GET /api/session') return this.#session(parameters.get('user'));
    const user = this.#userOf(token);
    if (!user) return [401, { error: 'Sign in first.' }];
    if (route === 'GET /api/marks') return [200, await this.#marks(user)];
    if (route === 'GET /api/posts') return [200, this.#feed(user)];
    if (route === 'POST /api/posts') return this.#publish(user, body);
    const post = this.posts.find(({ id }) => id === path.split('/')[3]);
    if (!post) return [404, { error: 'There is no such thing.' }];
    if (route === 'GET /api/posts/:id/comments') return [200, post.comments];
    if (route === 'POST /api/posts/:id/comments') return this.#comment(user, post, body);
    if (route === 'POST /api/posts/:id/like') return this.#like(user, post);
    return [404, { error: 'There is no such thing.' }];
  }

  /** An example: anyone may be anyone. An application asks for a password before it signs a token. */
  #session(id) {
    const user = PEOPLE.find((one) => one.id === id);
    if (!user) return [404, { error: 'There is no such person.' }];
    const conversations = conversationsOf(id);
    const rights = ['join', 'publish'];
    const rooms = conversations.flatMap((one) => [`message:${one.id}`, `delivered:${one.id}`]);
    const exp = Math.floor(Date.now() / 1_000) + TOKEN_SECONDS;
    const token = this.#sign({ sub: id, exp, rooms: ['presence:*', ...rooms.map((room) => ({ room, rights }))] });
    return [200, { user, token, pods: this.pods, people: PEOPLE, conversations }];
  }

  #sign(claims) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part({ alg: 'HS256' })}.${part(claims)}`;
    return `${signed}.${this.#signature(signed)}`;
  }

  #signature(text) {
    return createHmac('sha256', this.secret).update(text).digest('base64url');
  }

  #userOf(token = '') {
    const end = token.lastIndexOf('.');
    const [given, own] = [token.slice(end + 1), this.#signature(token.slice(0, end))].map((text) => Buffer.from(text));
    if (given.length !== own.length || !timingSafeEqual(given, own)) return undefined;
    const { sub, exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    return exp * 1_000 > Date.now() ? sub : undefined;
  }

  /** How far the others have read in the user's conversations: the pods tell it once, and a page may have been away. */
  async #marks(user) {
    const marks = {};
    const conversations = conversationsOf(user);
    const others = new Set(conversations.flatMap(({ members }) => members).filter((id) => id !== user));
    for (const other of others) {
      const shared = conversations.filter(({ members }) => members.includes(other)).map(({ id }) => `message:${id}`);
      const { rooms } = await this.api(`/api/users/${other}/unread?rooms=${shared.map(encodeURIComponent).join('+')}`);
      for (const { room, epoch, offset } of rooms)
        if (shared.includes(room)) marks[room] = { ...marks[room], [other]: { epoch, offset } };
    }
    return marks;
  }

  #feed(user) {
    const posts = this.posts.map((post) => shown(post, user));
    return { posts: posts.reverse(), position: this.position };
  }

  #publish(user, { text } = {}) {
    if (!isText(text)) return [400, { error: 'A post has 1 to 1,000 characters.' }];
    const post = postOf(user, text.trim(), Date.now());
    return this.#change(async () => {
      await this.#tell('new_post', shown(post), { id: post.id });
      this.posts = [...this.posts, post].slice(-MOST_POSTS);
      const mentioned = new Set([...post.text.matchAll(MENTION)].map(([, name]) => name.toLowerCase()));
      for (const { id } of PEOPLE) if (mentioned.has(id)) await this.#notify(id, 'mention', user, post);
      return [201, shown(post, user)];
    });
  }

  #like(user, post) {
    return this.#change(async () => {
      const isLiked = !post.likes.has(user);
      const likes = new Set(post.likes);
      if (isLiked) likes.add(user);
      else likes.delete(user);
      await this.#tell('like_count', { post_id: post.id, count: likes.size }, { key: post.id });
      post.likes = likes;
      if (isLiked) await this.#notify(post.author, 'like', user, post);
      return [200, shown(post, user)];
    });
  }

  #comment(user, post, { text } = {}) {
    if (!isText(text)) return [400, { error: 'A comment has 1 to 1,000 characters.' }];
    return this.#change(async () => {
      const comment = { id: randomUUID(), author: user, text: text.trim(), created_at: new Date().toISOString() };
      const count = post.comments.length + 1;
      await this.#tell('comment_count', { post_id: post.id, count }, { key: post.id });
      post.comments.push(comment);
      await this.#notify(post.author, 'comment', user, post);
      return [201, comment];
    });
  }

  #change(make) {
    const mine = this.turn.then(make);
    this.turn = mine.catch(() => {});
    return mine;
  }

  async #tell(topic, data, more) {
    const { epoch, offset } = await this.#emit({ room: FEED, topic, data, ...more });
    this.position = { epoch, offset };
  }

  async #notify(user, type, by, post) {
    if (user === by) return;
    const actor = { id: by, username: PEOPLE.find(({ id }) => id === by).name };
    const data = {
      id: randomUUID(),
      type,
      actor,
      post_id: post.id,
      text: post.text.slice(0, 80),
      created_at: new Date().toISOString(),
    };
    await this.#emit({ room: `notification:${user}`, topic: 'new_notification', data, id: data.id });
  }

  #emit(publication) {
    return this.api('/api/publish', { ...publication, idempotency_key: randomUUID() });
  }
}

const isText = (text) => typeof text === 'string' && text.trim().length > 0 && text.length <= 1_000;

function postOf(author, text, time) {
  return { id: randomUUID(), author, text, created_at: new Date(time).toISOString(), likes: new Set(), comments: [] };
}

/** A post as a page sees it; `user` is whose page. */
const shown = ({ likes, comments, ...post }, user) => ({
  ...post,
  likes: likes.size,
  comments: comments.length,
  liked: likes.has(user),
});
