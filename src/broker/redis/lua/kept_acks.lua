-- Reads how far a user has read.
-- KEYS: the user's. ARGV: how long a room is kept (ms).
-- Answers {room, "EPOCH OFFSET", room, …}, with the older epochs behind the newest.
local age, time = tonumber(ARGV[1]), redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local all, reply = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local at, positions = string.match(all[i + 1], '^(%d+) (.+)$')
  if at and tonumber(at) + age > now then
    reply[#reply + 1] = all[i]
    reply[#reply + 1] = positions
  end
end
return reply
