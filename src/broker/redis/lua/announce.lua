-- Tells pods an event that enters no log.
-- KEYS: the room's channel. ARGV: PUBLISH or SPUBLISH, the message.
-- Answers 1.
redis.call(ARGV[1], KEYS[1], ARGV[2])
return 1
