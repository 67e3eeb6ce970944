-- Level 2: how far users have read in archived rooms whose policy tells authors of it (acks = "receipts").
CREATE TABLE roomcast_reads (
    room        text   NOT NULL,
    reader      text   NOT NULL,
    generation  bigint NOT NULL,
    "offset"    bigint NOT NULL,
    PRIMARY KEY (room, reader)
);
CREATE INDEX roomcast_reads_reader ON roomcast_reads (reader);
CREATE INDEX roomcast_reads_furthest ON roomcast_reads (room, generation DESC, "offset" DESC);
