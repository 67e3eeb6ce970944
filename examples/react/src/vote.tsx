// The one screen: a question, an answer for each visitor, and how many are looking.
//
// All of it is what the rooms say: the newest vote of each visitor is a value that the room keeps, so that a page which comes late, or
// comes back, has the same numbers as all others.

import { useState } from 'react';

import type { Client } from 'roomcast';
import { commands } from 'roomcast/commands';
import { useClientState, useMap, usePresence } from 'roomcast/react';

export const DISHES = ['Ramen', 'Pizza', 'Dal', 'Salad'] as const;
export type Dish = (typeof DISHES)[number];
export type VoteRooms = Record<'vote:lunch', { vote: Dish }>;

const ROOM = 'vote:lunch';

export function Vote({ client, visitor }: { readonly client: Client<VoteRooms>; readonly visitor: string }) {
  const votes = useMap(client, ROOM);
  const { total: here } = usePresence(client, ROOM);
  const state = useClientState(client);
  const [problem, setProblem] = useState('');

  const count = (dish: Dish) => [...votes.values()].filter(({ data }) => data === dish).length;
  const most = Math.max(1, ...DISHES.map(count));
  const own = votes.get(visitor)?.data;
  const vote = async (dish: Dish) => {
    setProblem('');
    try {
      // A vote that is cast while the network is away is sent when it is back, and counts once.
      await commands(client).publish(ROOM, 'vote', dish, { key: visitor });
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <>
      <h1>What is for lunch?</h1>
      <ul className="dishes">
        {DISHES.map((dish) => (
          <li key={dish}>
            <button type="button" aria-pressed={own === dish} onClick={() => vote(dish)}>
              <span className="bar" style={{ width: `${(100 * count(dish)) / most}%` }} />
              <span className="dish">{dish}</span>
              <span className="count">
                {count(dish)}
                <span className="unseen"> votes</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
      <p className="foot" role="status">
        {state.kind === 'open' ? `${here} looking, ${votes.size} voted` : 'Offline – your vote is sent when you are back'}
      </p>
      {problem && <p role="alert">{problem}</p>}
    </>
  );
}
