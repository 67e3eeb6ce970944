-- Keeps how far users have read. What is kept of a user is a hash: for each room "TIME EPOCH OFFSET", and EPOCH and OFFSET again for
-- epochs before, the newest first. Of what authors are to be told there is a field in a hash for all users of a partition: its name
-- is "ROOM KEY", with the user's key, its value "TIME" and the positions that were kept when authors were told last, each as " EPOCH OFFSET".
-- ARGV: the most rooms of a user, how long a room is kept (ms), the most epochs of a room, the most fields of what is to be told, how long
--       that is kept (ms); then seven words an ack: the user's key, the room, the epoch, the offset, the key of what is to be
--       told, what authors are told ("-": nothing, "due", "withheld", "told"), and for "told" the positions that were kept before.
-- KEYS: none, or one that shows in which slot an ack is that is alone.
-- Answers a text an ack: "1" if it is further than what was kept of its epoch, "0" if not, and behind it the positions that were kept,
-- each as " EPOCH OFFSET"; "-" and an error if nothing was done.
local most, age, epochs = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most_untold, untold_age = tonumber(ARGV[4]), tonumber(ARGV[5])
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

-- Authors are to be told of what lies behind these positions, unless it stands there already from before them.
local function be_due(untold, field, before)
  if call('HEXISTS', untold, field) == 0 and call('HLEN', untold) < most_untold then
    call('HSET', untold, field, string.format('%d', now) .. before)
  end
  call('PEXPIRE', untold, untold_age)
end

-- Authors were told of what lies between these positions and this one. What is kept is further where the user has read on since.
local function be_told(key, room, position, untold, field, before)
  local due = call('HGET', untold, field)
  if failed(due) then
    return '-' .. due.err
  end
  if due and string.sub(due, string.find(due, ' ', 1, true) or #due + 1) == before then
    local held = call('HGET', key, room)
    if type(held) == 'string' and string.match(held, '^%d+ (%S+ %d+)') ~= position then
      call('HSET', untold, field, string.match(due, '^%d+') .. ' ' .. position)
    else
      call('HDEL', untold, field)
    end
  end
  return '0'
end

local reply = {}
for i = 6, #ARGV, 7 do
  local key, room, epoch, offset = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local untold, telling, field = ARGV[i + 4], ARGV[i + 5], room .. ' ' .. key
  local said
  if telling == 'told' then
    said = be_told(key, room, epoch .. ' ' .. offset, untold, field, ARGV[i + 6])
  else
    said = keep(key, room, epoch, offset)
    if telling == 'withheld' then
      call('HDEL', untold, field)
    elseif telling == 'due' and string.sub(said, 1, 1) == '1' then
      be_due(untold, field, string.sub(said, 2))
    end
  end
  reply[#reply + 1] = said
end
return reply
