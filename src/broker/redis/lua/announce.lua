-- Tells pods an event that enters no log, once however often it is tried.
-- KEYS: the room's channel, the attempt. ARGV: PUBLISH or SPUBLISH, the message, time to live of the attempt (ms).
-- Answers 1; 0 if it was told before.
if not redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[3]) then return 0 end
redis.call(ARGV[1], KEYS[1], ARGV[2])
return 1
