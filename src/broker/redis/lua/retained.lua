-- Reads the retained values.
-- KEYS: record, values, their order. ARGV: the name of an era that must be drawn, how long a record lasts (ms), most values, the letter that
--       their names begin with: a policy may have named them otherwise before.
-- Answers {epoch, offset, value, value…}, oldest first; a value is "offset-time event".
local room = open(KEYS[1], ARGV[1], ARGV[2])
local reply = { room.epoch, whole(room.offset) }
if room.offset > 0 and tonumber(ARGV[3]) > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[3], -tonumber(ARGV[3]), -1)) do
    local value = string.sub(name, 1, 1) == ARGV[4] and redis.call('HGET', KEYS[2], name)
    if value then
      reply[#reply + 1] = value
    end
  end
end
return reply
