-- Level 1: the events of archived rooms, and those that are on their way.

-- The lives of a room's log, in their order. One begins where the log lost events, or began anew.
CREATE TABLE roomcast_generations (
    room        text        NOT NULL,
    generation  bigint      NOT NULL CHECK (generation > 0),
    epoch       text        NOT NULL,
    -- The offset of its first event: those of the generation before are good below it.
    first       bigint      NOT NULL CHECK (first > 0),
    created     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, generation),
    UNIQUE (room, epoch)
);

-- Events that may be published, and are not confirmed yet. An event is either here or in roomcast_messages.
CREATE TABLE roomcast_pending (
    -- Drawn by the pod that publishes.
    id               bytea       PRIMARY KEY CHECK (octet_length(id) = 16),
    room             text        NOT NULL,
    -- The idempotency key under which it is published: b for the backend's, c for a client's.
    side             text        NOT NULL CHECK (side IN ('b', 'c')),
    key              text        NOT NULL,
    -- What a retry under this key must be the same in.
    hash             bytea       NOT NULL,
    topic            text        NOT NULL,
    event_key        text,
    event_id         text,
    author           text,
    is_binary        boolean     NOT NULL,
    -- JSON text as it was published, or bytes; sealed where seal names a key: nonce (12 bytes), cipher text, tag (16 bytes).
    data             bytea       NOT NULL,
    seal             text,
    created          timestamptz NOT NULL DEFAULT now(),
    -- The last confirmed event of the room when this one came: whatever offset this one gets is behind it.
    after_generation bigint      NOT NULL,
    after_offset     bigint      NOT NULL,
    -- When a pod last began to look after it.
    claimed          timestamptz,
    -- Nothing tells whether it was published. It never will be.
    is_unknown       boolean     NOT NULL DEFAULT false
);
CREATE INDEX roomcast_pending_room ON roomcast_pending (room);
CREATE INDEX roomcast_pending_created ON roomcast_pending (created);
CREATE INDEX roomcast_pending_author ON roomcast_pending (author) WHERE author IS NOT NULL;

-- Events that were published, at their positions.
CREATE TABLE roomcast_messages (
    room        text        NOT NULL,
    generation  bigint      NOT NULL,
    "offset"    bigint      NOT NULL CHECK ("offset" > 0),
    id          bytea       NOT NULL,
    topic       text        NOT NULL,
    event_key   text,
    event_id    text,
    author      text,
    is_binary   boolean     NOT NULL,
    -- NULL: it was erased.
    data        bytea,
    seal        text,
    created     timestamptz NOT NULL,
    PRIMARY KEY (room, generation, "offset")
);
-- Rows come in the order of their times, nearly: a few pages say where the old ones are.
CREATE INDEX roomcast_messages_created ON roomcast_messages USING brin (created);
-- To erase what a user wrote, by the policies of the rooms.
CREATE INDEX roomcast_messages_author ON roomcast_messages (author, room) WHERE author IS NOT NULL;
