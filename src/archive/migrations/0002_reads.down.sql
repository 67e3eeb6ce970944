DROP TABLE roomcast_reads;
