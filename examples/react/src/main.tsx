// The page: one client, one screen. A visitor is a tab.

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Client } from 'roomcast';

import { Vote, type VoteRooms } from './vote.js';

const { url } = (await (await fetch('/pod')).json()) as { url: string };
const client = new Client<VoteRooms>({ url });
const visitor = [...crypto.getRandomValues(new Uint32Array(2))].join('-');

createRoot(document.querySelector('main') as HTMLElement).render(
  <StrictMode>
    <Vote client={client} visitor={visitor} />
  </StrictMode>,
);
