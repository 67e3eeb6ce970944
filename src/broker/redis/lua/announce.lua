-- Tells pods an event that enters no log, once however often it is tried.
-- KEYS: the room's channel, the attempt. ARGV: PUBLISH or SPUBLISH, the message, time to live of the attempt (ms).
-- Answers 1; 0 if it was told before.
if not redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[3]) then return 0 end
local told = redis.pcall(ARGV[1], KEYS[1], ARGV[2])
if type(told) == 'table' and told.err then
  -- It was not told: the next attempt must not take it for that.
  local forgotten = redis.pcall('UNLINK', KEYS[2])
  if type(forgotten) == 'table' and forgotten.err then
    redis.pcall('SET', KEYS[2], '', 'PX', 1)
  end
  return redis.error_reply(told.err)
end
return 1
