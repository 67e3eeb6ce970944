-- Level 4: the highest generation of a life that is kept no more, in one row. A room that begins anew is numbered behind it, so that what was
-- once told of where a page ends stays before what comes.
CREATE TABLE roomcast_forgotten (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    generation  bigint  NOT NULL
);
INSERT INTO roomcast_forgotten (generation) VALUES (0);
