// The trips dialect: `{"type":"subscribe","trip_id":…}`, and batches of `events`. A subscription is not answered, and nothing
// is replayed after a reconnect: a client that comes back begins anew.

import { settings } from '../settings.js';

export const trips = {
  request: () => ({ url: settings.url }),

  open(client) {
    const again = client.numbers.size > 0;
    client.send(JSON.stringify({ type: 'subscribe', trip_id: client.room.replace(/^trip:/, 'trip-') }));
    client.send(JSON.stringify({ type: 'ping' }));
    client.state.again = again;
  },

  message(client, text) {
    const message = JSON.parse(text);
    switch (message.type) {
      case 'pong':
        // Commands are carried out in their order: with the pong the subscription stands.
        if (!client.joined) {
          if (client.state.again) client.numbers.clear();
          client.isIn(null);
        } else if (client.state.pong) {
          client.state.pong();
        }
        break;
      case 'events':
        for (const { topic, data } of message.events) {
          client.say({ step: 'events', topic, publisher: data.publisher, number: data.number });
          client.event(data);
        }
        break;
      case 'error':
        client.error(text);
        break;
      default:
    }
  },

  /** There are no positions: an answered ping shows that the connection lives. */
  settle(client, done) {
    let over = false;
    const finish = (complete) => {
      if (!over) done(complete);
      over = true;
    };
    client.state.pong = () => finish(true);
    client.send(JSON.stringify({ type: 'ping' }));
    setTimeout(() => finish(false), 2000);
  },
};
