-- Tells every pod something.
-- KEYS: the channel. ARGV: PUBLISH or SPUBLISH, the message.
return redis.call(ARGV[1], KEYS[1], ARGV[2])
