-- What every script of rooms begins with. A room's record is a hash:
--   base    names this life of the room: random, drawn when the record is made
--   replid  the first 12 digits of the master's replication id when it last wrote here
--   chain   the generations before this one, oldest first, each "replid:offset": how far its events are the log's own
--   offset, time   of the last event      bytes, oldest   what the log costs, and the time of its oldest event
--   renewed        until when the keys' times to live serve (`publish.lua`)
-- A position's epoch is "base.replid".

local MAX_CHAIN = 16

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function whole(number)
  return string.format('%d', number)
end

local function master_replid()
  return string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 12)
end

-- The generations before a new one: those that were, and the one that is over.
local function next_chain(chain, replid, offset)
  local links = {}
  for link in string.gmatch(chain, '[^,]+') do
    links[#links + 1] = link
  end
  links[#links + 1] = replid .. ':' .. whole(offset)
  if #links > MAX_CHAIN then
    table.remove(links, 1)
  end
  return table.concat(links, ',')
end

-- Reads the record, makes it if it is not there, and starts a new generation if another server, or this one after a
-- restart, has become the master: whatever it did not know of is not in this log.
--
-- A script that only reads (`reads`) is answered also by a server that takes no writes: without memory, or a replica. A room that cannot
-- be recorded there has the base 0 and no events, which no life of it has.
local function open(key, base, ttl, known, reads)
  local master = known or master_replid()
  local field = redis.call('HMGET', key, 'base', 'replid', 'chain', 'offset', 'time', 'bytes', 'oldest')
  local room = {
    base = field[1] or base,
    replid = field[2] or master,
    chain = field[3] or '',
    offset = tonumber(field[4] or 0),
    time = tonumber(field[5] or 0),
    bytes = tonumber(field[6] or 0),
    oldest = tonumber(field[7] or 0),
  }
  if not field[1] then
    local made = redis.pcall('HSET', key, 'base', room.base, 'replid', room.replid, 'offset', 0)
    if type(made) ~= 'table' or not made.err then
      redis.call('PEXPIRE', key, ttl)
    elseif reads then
      room.base = '0'
    else
      return nil, made.err
    end
  elseif room.replid ~= master then
    room.chain = next_chain(room.chain, room.replid, room.offset)
    room.replid = master
    local renewed = redis.pcall('HSET', key, 'replid', master, 'chain', room.chain)
    if type(renewed) == 'table' and renewed.err and not reads then
      return nil, renewed.err
    end
  end
  room.epoch = room.base .. '.' .. room.replid
  return room
end

-- How far the events of an older epoch are this log's own; nil if nothing is known of it. A slot that went and came back
-- has a generation twice: its last stay reaches furthest, and nothing was lost between.
local function boundary(room, epoch)
  local base, replid = string.match(epoch, '^(%x+)%.(%x+)$')
  if base ~= room.base then
    return nil
  end
  local furthest = nil
  for link, offset in string.gmatch(room.chain, '(%x+):(%d+)') do
    if link == replid then
      furthest = tonumber(offset)
    end
  end
  return furthest
end

-- An event lies in the log under the id "offset-time", as the first of its fields. What it costs beside its bytes: its id, its
-- place, and the share of its node.
local EVENT_COST = 64

local function id_of(entry)
  local offset, time = string.match(entry[1], '^(%d+)-(%d+)$')
  return tonumber(offset), tonumber(time)
end
