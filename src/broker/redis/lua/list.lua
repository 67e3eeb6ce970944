-- Lists members of a room.
-- KEYS: the members of each pod. ARGV: at most so many.
-- Answers {how many there are, connection, user, connection, user…}.
local limit = tonumber(ARGV[1])
local reply, total, listed = { 0 }, 0, 0
for _, members in ipairs(KEYS) do
  total = total + redis.call('HLEN', members)
  local cursor = '0'
  while listed < limit do
    local page = redis.call('HSCAN', members, cursor, 'COUNT', limit - listed)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if listed < limit then
        reply[#reply + 1] = page[2][i]
        reply[#reply + 1] = page[2][i + 1]
        listed = listed + 1
      end
    end
    if cursor == '0' then
      break
    end
  end
end
reply[1] = total
return reply
