// A WebSocket as a link.

import { LOST } from './close_codes.js';
import type { Transport } from './link.js';
import type { Message } from './message.js';
import type { WebSocketClass } from './platform.js';

export const websocket: Transport = {
  name: 'websocket',
  sends: true,
  isPossible: ({ WebSocket }) => !!WebSocket,
  dial({ endpoint, means: { WebSocket } }, on) {
    const socket = new (WebSocket as WebSocketClass)(`${endpoint.replace(/^http/, 'ws')}/ws`, 'roomcast.v1');
    const close = () => {
      socket.onmessage = socket.onclose = null;
      socket.close(1000);
    };
    socket.onmessage = ({ data }) => {
      let message: Message;
      try {
        message = JSON.parse(data as string) as Message;
      } catch (error) {
        close();
        return on.close(LOST, `${error}`);
      }
      on.message(message);
    };
    socket.onclose = ({ code, reason }) => on.close(code, reason);
    // `close` follows, and says as much as a page may know.
    socket.onerror = () => {};
    return { send: (command) => socket.send(JSON.stringify(command)), close };
  },
};
