-- Keeps how far users have read. What is kept of a user is a hash: for each room "TIME EPOCH OFFSET", and EPOCH and OFFSET again for
-- epochs before, the newest first.
-- ARGV: the most rooms of a user, how long a room is kept (ms), the most epochs of a room; then four words an ack: the user's key, the
--       room, the epoch, the offset.
-- KEYS: none, or one that shows in which slot an ack is that is alone.
-- Answers a text an ack: "1" if it is further than what was kept of its epoch, "0" if not, and behind it the positions that were kept,
-- each as " EPOCH OFFSET"; "-" and an error if nothing was done.
local most, age, epochs = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.pcall
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function failed(result)
  return type(result) == 'table' and result.err
end

local function time_of(value)
  return tonumber(string.match(value, '^%d+')) or 0
end

-- Makes place for one more room: what is too old goes, and an eighth of the others if that is not enough, the oldest first.
local function make_place(key)
  local all = redis.call('HGETALL', key)
  local kept, gone = {}, {}
  for i = 1, #all, 2 do
    local at = time_of(all[i + 1])
    if at + age <= now then
      gone[#gone + 1] = all[i]
    else
      kept[#kept + 1] = { at, all[i] }
    end
  end
  if #kept >= most then
    table.sort(kept, function(a, b) return a[1] < b[1] end)
    for i = 1, #kept - most + math.max(1, math.floor(most / 8)) do
      gone[#gone + 1] = kept[i][2]
    end
  end
  for i = 1, #gone do
    redis.call('HDEL', key, gone[i])
  end
end

local function keep(key, room, epoch, offset)
  local held = call('HGET', key, room)
  if failed(held) then
    return '-' .. held.err
  end
  local positions, further, before = {}, true, ''
  if held and time_of(held) + age > now then
    local first = string.find(held, ' ', 1, true) or #held
    before = string.sub(held, first)
    for known, at in string.gmatch(before, '(%S+) (%d+)') do
      if known == epoch then
        if tonumber(at) >= tonumber(offset) then
          further, offset = false, at
        end
      elseif #positions < epochs - 1 then
        positions[#positions + 1] = known .. ' ' .. at
      end
    end
    -- What is repeated is written now and then, so that it does not grow old.
    if not further and time_of(held) + age / 8 > now then
      return '0' .. before
    end
  elseif not held and call('HLEN', key) >= most then
    make_place(key)
  end
  table.insert(positions, 1, string.format('%d', now) .. ' ' .. epoch .. ' ' .. offset)
  local written = call('HSET', key, room, table.concat(positions, ' '))
  if failed(written) then
    return '-' .. written.err
  end
  call('PEXPIRE', key, age)
  return (further and '1' or '0') .. before
end

local reply = {}
for i = 4, #ARGV, 4 do
  reply[#reply + 1] = keep(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return reply
