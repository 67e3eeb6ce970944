-- Forgets keys of one slot, and tells the pods that follow a room that it begins anew.
-- KEYS: they; of a room, its channel after them. ARGV: of a room, PUBLISH or SPUBLISH, and the message.
-- Answers {how many there were}.
local keys = KEYS
local channel
if ARGV[1] then
  keys = { unpack(KEYS, 1, #KEYS - 1) }
  channel = KEYS[#KEYS]
end
local gone = redis.call('UNLINK', unpack(keys))
if channel then
  redis.call(ARGV[1], channel, ARGV[2])
end
return { gone }
