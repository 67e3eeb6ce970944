-- Notes that a user publishes in a room, or that nothing of it is there any more.
-- KEYS: the room's authors. ARGV: "note" or "forget", the user, and for how long it is noted (ms); or since when there is nothing of it
--       (ms): one that published again later stays noted.
-- Answers {1}.
-- The authors are a sorted set, by the time at which each was noted last.
local authors, user, ms = KEYS[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[1] == 'forget' then
  local noted = redis.call('ZSCORE', authors, user)
  if noted and tonumber(noted) <= now - ms then
    redis.call('ZREM', authors, user)
  end
  return { 1 }
end
redis.call('ZADD', authors, string.format('%d', now), user)
redis.call('ZREMRANGEBYSCORE', authors, '-inf', string.format('%d', now - ms))
redis.call('PEXPIRE', authors, string.format('%d', ms))
return { 1 }
