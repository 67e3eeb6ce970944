-- Keeps a value that ends by itself, reads it, takes it, or claims its name.
-- KEYS: the value. ARGV: what to do, then for "set" and "claim" the value and its time to live (ms), for "take" the name of
--       this attempt and how long it is known (ms).
-- Answers {1, value} or {0}: what "get" and "take" found, who else holds what was to be claimed.
-- A value lies behind a "v". One that was taken lies behind a "t" and the attempt's 16 characters for a while, so that who did
-- not hear the answer gets it again, and nobody else does.
local key, act = KEYS[1], ARGV[1]
if act == 'set' then
  redis.call('SET', key, 'v' .. ARGV[2], 'PX', ARGV[3])
  return { 0 }
end
local held = redis.call('GET', key)
local value = held and string.sub(held, 1, 1) == 'v' and string.sub(held, 2)
if act == 'take' then
  if value then
    redis.call('SET', key, 't' .. ARGV[2] .. value, 'PX', ARGV[3])
  elseif held and string.sub(held, 2, 17) == ARGV[2] then
    value = string.sub(held, 18)
  end
elseif act == 'claim' and (not value or value == ARGV[2]) then
  redis.call('SET', key, 'v' .. ARGV[2], 'PX', ARGV[3])
  return { 0 }
end
if value then
  return { 1, value }
end
return { 0 }
