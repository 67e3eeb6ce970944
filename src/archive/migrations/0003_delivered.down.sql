DROP TABLE roomcast_delivered;
