-- Reads a string that somebody else keeps.
-- KEYS: its key. Answers {1, string} or {0}.
local value = redis.call('GET', KEYS[1])
if value then
  return { 1, value }
end
return { 0 }
