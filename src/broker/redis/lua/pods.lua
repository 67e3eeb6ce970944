-- Reads which pods have members of a room, and keeps the asking pod's members known.
-- KEYS: the asking pod's members of the room, the room's pods. ARGV: time to live (ms).
-- Answers {how many members the asking pod has here, pod, pod…}.
local reply = { redis.call('HLEN', KEYS[1]) }
if reply[1] > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
for _, pod in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  reply[#reply + 1] = pod
end
return reply
