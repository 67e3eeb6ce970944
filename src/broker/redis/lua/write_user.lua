-- Replaces a user's record, if it is still the one that is meant.
-- KEYS: the record, the users that this pod looks after, those of a pod that is gone (or the same key), then what the room keeps.
-- ARGV: what the record was (empty: none), what it becomes (the same), how long it is kept (ms), the user, "+" or "-" where this pod looks
--       after it from now on or not any more, "-" where the other pod does not any more, how long the room is kept (ms).
-- Answers {1}, or {0}: another record is there, and nothing was done.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return { 0 }
end
if ARGV[2] == '' then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
-- The set lasts as long as the records of its users: after a night without pods they must be found.
if ARGV[5] == '+' then
  redis.call('SADD', KEYS[2], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
elseif ARGV[5] == '-' then
  redis.call('SREM', KEYS[2], ARGV[4])
end
if ARGV[6] == '-' then
  redis.call('SREM', KEYS[3], ARGV[4])
end
-- What the room keeps lasts as long as its user is here, though nothing is told there.
local lasts = tonumber(ARGV[7])
for i = 4, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 and left < lasts / 2 then
    redis.call('PEXPIRE', KEYS[i], ARGV[7])
  end
end
return { 1 }
