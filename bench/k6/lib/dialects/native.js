// `roomcast.v1`, docs/PROTOCOL.md.

import * as measures from '../measures.js';
import { settings } from '../settings.js';

export const native = {
  request: ({ token }) => ({
    url: settings.url,
    protocols: ['roomcast.v1'],
    headers: token ? { Authorization: `Bearer ${token}` } : undefined,
  }),

  open(client) {
    const { position } = client.state;
    client.send(JSON.stringify({ type: 'subscribe', id: 1, room: client.room, since: position }));
  },

  message(client, text) {
    const message = JSON.parse(text);
    const { state } = client;
    switch (message.type) {
      case 'subscribed': {
        const { epoch, offset, recovered } = message;
        client.say({ step: 'subscribed', epoch, offset, recovered, since: state.position });
        client.isIn(state.position ? recovered : null);
        state.position = { epoch, offset };
        break;
      }
      case 'events': {
        const { epoch, after, offset } = message;
        if (message.retained) break;
        if (after !== state.position.offset) measures.holes.add(Math.abs(after - state.position.offset));
        client.say({
          step: 'events',
          epoch,
          after,
          offset,
          events: message.events.map(({ offset, id }) => [offset, id]),
        });
        for (const { data } of message.events) client.event(data);
        state.position = { epoch, offset };
        if (state.settled) state.settled();
        break;
      }
      case 'gap':
        client.say({ step: 'gap', epoch: message.epoch, after: message.after, offset: message.offset });
        client.gap(Math.max(1, message.offset - message.after));
        state.position = { epoch: message.epoch, offset: message.offset };
        break;
      case 'reconnect':
        client.hinted(message.after_ms);
        break;
      case 'history':
        state.answer(message);
        break;
      case 'error':
        client.error(`${message.code}: ${message.message}`);
        break;
      default: // welcome, pong
    }
  },

  /** The room's own end, asked for, is where the client stands, or will in a moment. */
  settle(client, done) {
    const { state } = client;
    let over = false;
    const finish = (complete) => {
      if (over) return;
      over = true;
      state.settled = null;
      done(complete);
    };
    state.answer = ({ epoch, offset }) => {
      const there = () => {
        if (state.position.epoch === epoch && state.position.offset >= offset) finish(true);
      };
      state.settled = there;
      there();
    };
    client.send(JSON.stringify({ type: 'history', id: 2, room: client.room, limit: 1 }));
    setTimeout(() => finish(false), 2000);
  },
};
