-- Takes the members of a pod that is gone out of a room.
-- KEYS: its members of the room, the room's pods. ARGV: pod, channel (empty: nobody is told), PUBLISH or SPUBLISH.
-- Answers how many there were.
local members = redis.call('HGETALL', KEYS[1])
if ARGV[2] ~= '' then
  for i = 1, #members, 2 do
    -- They are gone, whether or not that can be told.
    redis.pcall(ARGV[3], ARGV[2], 'l' .. members[i] .. '\n' .. members[i + 1])
  end
end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return #members / 2
