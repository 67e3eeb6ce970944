-- Tells pods something.
-- KEYS: the channel, the leases. ARGV: PUBLISH or SPUBLISH, the message.
-- Answers {pod, pod…}: every pod whose lease runs.
redis.call(ARGV[1], KEYS[1], ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')
