// Whose chat this is: asks the backend for a token, and for the rooms that there are.

/** A room of the chat, as the backend tells of it. */
export interface RoomInfo {
  readonly id: string;
  readonly title: string;
  readonly about: string;
}

export interface Session {
  readonly name: string;
  readonly token: string;
  /** Where the pod is. */
  readonly pod: string;
  readonly rooms: readonly RoomInfo[];
}

/** What a room of the chat carries. */
export interface ChatTopics {
  message: { text: string };
}
export type ChatRooms = Record<`chat:${string}`, ChatTopics>;

/** Asks for a session; what it throws is for people. */
export async function begin(name: string): Promise<Session> {
  const answer = await fetch(`/session?name=${encodeURIComponent(name)}`);
  const body = (await answer.json()) as Session & { readonly error?: string };
  if (!answer.ok) throw new Error(body.error ?? 'The server does not answer.');
  return body;
}

/** The name under which this tab was opened before; another tab may have another one. */
export const remembered = {
  get: (): string | null => {
    try {
      return sessionStorage.getItem('name');
    } catch {
      return null;
    }
  },
  set: (name: string | null): void => {
    try {
      if (name === null) sessionStorage.removeItem('name');
      else sessionStorage.setItem('name', name);
    } catch {
      // A storage that is forbidden: the name is asked for again.
    }
  },
};
