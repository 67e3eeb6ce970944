-- Takes the members of a pod that is gone out of a room.
-- KEYS: its members of the room, the room's pods, the members of the other pods. ARGV: pod, channel (empty: nobody is told), PUBLISH or
-- SPUBLISH.
-- Answers how many there were.
local members = redis.call('HGETALL', KEYS[1])
-- They are gone, whether or not that can be told.
local function tell(kind, connection, user)
  redis.pcall(ARGV[3], ARGV[2], kind .. connection .. '\n' .. user)
end
if ARGV[2] ~= '' then
  for i = 1, #members, 2 do
    local connection, was = members[i], members[i + 1]
    local other = elsewhere(connection, was)
    -- An edge tells of its members over another link by now.
    if other ~= was then
      tell('l', connection, was)
      if other then
        tell('j', connection, other)
      end
    end
  end
end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return #members / 2
