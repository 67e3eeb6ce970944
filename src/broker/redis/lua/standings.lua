-- Says where the logs of any rooms that this server has stand, and what they have of other epochs. Writes nothing: a room of which
-- nothing is known begins no life, and no era is drawn.
-- ARGV: how long a record lasts (ms); three words a room and more: its record, how many epochs follow, and these; an empty one is the
-- log's own.
-- KEYS: none, or one that shows in which slot a room is that is alone.
-- Answers a text a room: "epoch offset", and for each epoch the last offset that is this log's own, or "-" if nothing is known of it;
-- "-" and an error if the record could not be read.
local master, ttl = master_replid(), ARGV[1]
local reply, at = {}, 2

-- Whether a room's epochs are asked about of which one is an era's: other rooms need none.
local function asks_era(first, last)
  for i = first, last do
    if string.sub(ARGV[i], 1, 1) == 'n' then
      return true
    end
  end
end

local function standing(record, first, last)
  local field = redis.pcall('HMGET', record, 'base', 'replid', 'chain', 'offset')
  if field.err then
    return '-' .. field.err
  end
  local era = (not field[1] or asks_era(first, last)) and redis.pcall('GET', era_key(record)) or '0'
  if type(era) == 'table' then
    return '-' .. era.err
  end
  local room = { base = field[1] or '', chain = field[3] or '', offset = tonumber(field[4] or 0), ttl = ttl, era = era }
  local epoch
  if field[1] then
    epoch = room.base .. '.' .. master
    if field[2] ~= master then
      room.chain = next_chain(room.chain, field[2], room.offset)
    end
  else
    epoch = 'n' .. era .. '.' .. whole(step_of(ttl))
  end
  local words = { epoch, whole(room.offset) }
  for i = first, last do
    local reach
    if ARGV[i] == '' or ARGV[i] == epoch then
      reach = room.offset
    else
      reach = boundary(room, ARGV[i])
    end
    words[#words + 1] = reach and whole(reach) or '-'
  end
  return table.concat(words, ' ')
end

while at <= #ARGV do
  local last = at + 1 + tonumber(ARGV[at + 1])
  reply[#reply + 1] = standing(ARGV[at], at + 2, last)
  at = last + 1
end
return reply
