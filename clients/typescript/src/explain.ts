// Why a client is not connected, or not in a room, in words for a person: for a console, a bug report, a status page.
//
// Reads what the client knows; asks nothing of the network.

import type { AnyRooms, Attempt, Client } from './index.js';

const MEANING: Record<number, string> = {
  1006: 'the connection was lost, or never came about',
  1008: 'the server refuses this page or client',
  1012: 'the pod restarts',
  1013: 'the pod is full',
  4001: 'the token was refused, or there is none',
  4002: 'the token has expired',
  4003: 'the backend disconnected this client',
  4008: 'this client reads too slowly',
  4009: 'this client did not answer a ping',
  4010: 'the pod lost events, and starts afresh with this client',
  4011: 'the user has as many connections as a user may have',
  4029: 'this client sent too many commands',
};

/** The state of a client, a sentence a line. `now`: milliseconds since 1970, UTC. */
export function explain<Rooms extends object = AnyRooms>(client: Client<Rooms>, now = Date.now()): string {
  const { state, attempts, rooms, commands } = client;
  const lines: string[] = [];
  const ago = (time: number) => `${(Math.max(now - time, 0) / 1000).toFixed(1)} s`;
  switch (state.kind) {
    case 'idle':
      lines.push('Not connected: nothing was subscribed to yet, and connect() was not called.');
      break;
    case 'connecting':
      lines.push(`Connecting for ${ago(state.since)}.`);
      break;
    case 'open':
      lines.push(`Connected to ${state.endpoint} by ${state.transport} for ${ago(state.since)}.`);
      if (!state.sends) lines.push('It only listens: publishing waits for a better transport.');
      break;
    case 'waiting':
      lines.push(
        `Not connected: ${meaning(state.code, state.reason)}. The next attempt comes in ${ago(2 * now - state.until)}.`,
      );
      break;
    case 'closed':
      lines.push(state.error ? `Closed for good: ${state.error.message}.` : 'Closed by the application.');
      break;
  }
  for (const room of rooms) {
    if (room.state === 'refused')
      lines.push(`The room ${room.name} was refused: ${room.error?.message} (${room.error?.code}).`);
    else if (room.state !== 'joined') lines.push(`The room ${room.name} is not joined yet.`);
  }
  if (commands?.waiting) lines.push(`${commands.waiting} commands wait for a connection.`);
  for (const attempt of attempts) lines.push(tried(attempt, ago(attempt.at)));
  return lines.join('\n');
}

function tried({ transport, endpoint, took, code, reason }: Attempt, ago: string): string {
  const outcome = code === undefined ? 'connected' : `failed: ${meaning(code, reason)}`;
  return `${ago} ago ${transport} to ${endpoint} ${outcome}, after ${Math.round(took)} ms.`;
}

function meaning(code: number, reason = ''): string {
  const words = MEANING[code] ?? 'the connection ended';
  return reason ? `${words} (${code}, ${reason})` : `${words} (${code})`;
}
