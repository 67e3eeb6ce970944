-- Acks of which authors were not told: takes those that should have been told of a while ago, or forgets those of a user. See `keep_acks.lua`.
-- ARGV: how long ago (ms), the most of one partition, a user's key or ""; then one word a partition: the key of what is to be told there.
-- KEYS: none, or one that shows in which slot a partition is that is alone.
-- Answers a text a partition: "" if there is nothing, else a JSON list of lists: the user's key, the room, "EPOCH OFFSET" up to which the user has read,
-- and the positions that were kept when authors were told last, each as "EPOCH OFFSET", with a space between two; "-" and an error if nothing was done.
-- For a user: "" when what was to be told of it is forgotten.
local older, most, user = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local call = redis.pcall
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function take(untold, field, value, taken)
  local room, key = string.match(field, '^(%S+) (.*)$')
  local since, before = string.match(value, '^(%d+) ?(.*)$')
  if user ~= '' then
    if key == user then
      call('HDEL', untold, field)
    end
    return
  end
  local held = key and call('HGET', key, room)
  local read = type(held) == 'string' and string.match(held, '^%d+ (%S+ %d+)')
  if not since or not read then
    call('HDEL', untold, field)
  elseif tonumber(since) + older <= now and #taken < most then
    call('HSET', untold, field, string.format('%d', now) .. (before == '' and '' or ' ' .. before))
    taken[#taken + 1] = { key, room, read, before }
  end
end

local reply = {}
for i = 4, #ARGV do
  local all, taken = call('HGETALL', ARGV[i]), {}
  if all.err then
    reply[#reply + 1] = '-' .. all.err
  else
    for n = 1, #all, 2 do
      take(ARGV[i], all[n], all[n + 1], taken)
    end
    reply[#reply + 1] = #taken == 0 and '' or cjson.encode(taken)
  end
end
return reply
