DROP TABLE roomcast_messages;
DROP TABLE roomcast_pending;
DROP TABLE roomcast_generations;
