-- Level 3: how far devices of users have got events of archived rooms whose policy tells authors of it (acks = "receipts").
CREATE TABLE roomcast_delivered (
    room        text   NOT NULL,
    reader      text   NOT NULL,
    generation  bigint NOT NULL,
    "offset"    bigint NOT NULL,
    PRIMARY KEY (room, reader)
);
CREATE INDEX roomcast_delivered_reader ON roomcast_delivered (reader);
CREATE INDEX roomcast_delivered_furthest ON roomcast_delivered (room, generation DESC, "offset" DESC);
