-- Notes that a user publishes in a room, or that nothing of it is there any more.
-- KEYS: the room's authors. ARGV: "note" or "forget", the user, for how long it is noted (ms).
-- Answers {1}.
-- The authors are a sorted set, by the time at which each was noted last.
local authors, user = KEYS[1], ARGV[2]
if ARGV[1] == 'forget' then
  redis.call('ZREM', authors, user)
  return { 1 }
end
local age = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', authors, string.format('%d', now), user)
redis.call('ZREMRANGEBYSCORE', authors, '-inf', string.format('%d', now - age))
redis.call('PEXPIRE', authors, string.format('%d', age))
return { 1 }
