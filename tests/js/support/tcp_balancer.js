// A TCP load balancer as kube-proxy is one: a new connection goes to the next endpoint, one that stands is left alone.

import { connect, createServer } from 'node:net';

export class Balancer {
  /** Ports on 127.0.0.1 that get new connections. */
  endpoints = new Set();
  #turn = 0;
  #sockets = new Set();
  refused = 0;
  taken = 0;

  async listen() {
    this.server = createServer({ noDelay: true }, (client) => this.#take(client));
    await new Promise((listening, failed) => this.server.once('error', failed).listen(0, '127.0.0.1', listening));
    this.port = this.server.address().port;
    return this;
  }

  #take(client) {
    const endpoints = [...this.endpoints];
    client.on('error', () => client.destroy());
    if (endpoints.length === 0) {
      this.refused++;
      return client.destroy();
    }
    this.taken++;
    const backend = connect({ port: endpoints[this.#turn++ % endpoints.length], host: '127.0.0.1', noDelay: true });
    for (const socket of [client, backend]) {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    }
    let connected = false;
    backend.once('connect', () => (connected = true));
    backend.on('error', () => {
      if (!connected) this.refused++;
      client.destroy();
    });
    client.once('close', () => backend.destroy());
    backend.once('close', () => client.destroySoon());
    client.pipe(backend).pipe(client);
  }

  /** Cuts every connection. New ones are taken. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close() {
    this.cut();
    await new Promise((closed) => this.server.close(closed));
  }
}
