// What is measured, and the bounds that a run must keep.

import { Counter, Rate, Trend } from 'k6/metrics';

import { settings } from './settings.js';

/** From just before the publish to the moment at which a client has parsed the event; one clock, 1 ms. */
export const delivery = new Trend('roomcast_delivery', true);
/** Of a publish, until it is answered. */
export const publish = new Trend('roomcast_publish', true);
/** TCP, TLS and upgrade. */
export const connect = new Trend('roomcast_connect', true);
/** From the request to join until it is answered. */
export const join = new Trend('roomcast_join', true);
/** Without a connection that is in the room again, after one was lost. */
export const away = new Trend('roomcast_away', true);

export const published = new Counter('roomcast_published');
/** Events that reached clients, and the messages that they came in. */
export const events = new Counter('roomcast_events');
export const messages = new Counter('roomcast_messages');
/** Events that a gap named: they will not come. */
export const gaps = new Counter('roomcast_gaps');
/** Events that are missing and that no gap named; events that came twice. */
export const holes = new Counter('roomcast_holes');
export const duplicates = new Counter('roomcast_duplicates');
export const errors = new Counter('roomcast_errors');
export const publishErrors = new Counter('roomcast_publish_errors');
/** Connections that the client did not end itself. */
export const lost = new Counter('roomcast_lost_connections');
/** Connections that are back in their room. */
export const returns = new Counter('roomcast_returns');
/** Of the clients that came back with a position, those that got exactly what they had missed. */
export const recovered = new Rate('roomcast_recovered');
/** Of the clients at the end, those that had everything. */
export const complete = new Rate('roomcast_complete');

export const opened = new Counter('roomcast_connections');

/** A counter that nothing was added to has no series: its bound holds. */
export const thresholds = {
  roomcast_events: ['count>0'],
  roomcast_published: ['count>0'],
  roomcast_connections: ['count>0'],
  roomcast_delivery: [`p(95)<${settings.deliveryP95}`],
  roomcast_publish: [`p(95)<${settings.publishP95}`],
  roomcast_connect: [`p(95)<${settings.connectP95}`],
  roomcast_holes: ['count==0'],
  roomcast_duplicates: ['count==0'],
  roomcast_errors: ['count==0'],
  roomcast_publish_errors: ['count==0'],
  roomcast_gaps: ['count==0'],
  roomcast_complete: ['rate==1'],
  // A run whose events were not published at the rate asked for has measured another load.
  dropped_iterations: ['count==0'],
};
