DROP TABLE roomcast_forgotten;
