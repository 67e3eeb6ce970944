-- Reads a string that somebody else keeps.
-- KEYS: its key. Answers {1, string}, {0}, or {2}: it is no string.
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' and value.err then
  if string.find(value.err, 'WRONGTYPE', 1, true) then
    return { 2 }
  end
  return value
end
if value then
  return { 1, value }
end
return { 0 }
