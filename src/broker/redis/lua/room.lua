-- What every script of rooms begins with. A room's record is a hash:
--   base    names this life of the room: random, drawn when the record is made
--   replid  the first 12 digits of the master's replication id when it last wrote here
--   chain   the generations before this one, oldest first, each "replid:offset": how far its events are the log's own
--   offset, time   of the last event      bytes, oldest   what the log costs, and the time of its oldest event
--   packed         all of them but the chain, and until when the keys' times to live serve: what `publish.lua` reads in place of them
-- A position's epoch is "base.replid", or that of a room without a record (`era_of`).

local MAX_CHAIN = 16

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local format = string.format
local function whole(number)
  return format('%d', number)
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

-- Clients may make names up, so that nothing is stored for a room in which nothing was ever published. It stands at offset 0 of an
-- epoch that all such rooms of its slot share, "nERA.STEP": ERA is random, drawn when the slot's key of that name is not there, and a
-- STEP is half of the time for which a record lasts.
local function step_of(ttl)
  return math.floor(now_ms() / math.max(math.floor(tonumber(ttl) / 2), 1))
end

-- Where the era of a record's slot is.
local function era_key(record)
  return string.match(record, '^(.-{[^}]*}:)') .. 'era'
end

-- The era of a record's slot. One that cannot be stored, without memory or on a replica, is 0: nothing is known of it later.
local function era_of(record, drawn, ttl)
  local key = era_key(record)
  local era = redis.call('GET', key)
  if not era then
    era = drawn
    local stored = redis.pcall('SET', key, era, 'PX', ttl)
    if type(stored) == 'table' and stored.err then
      -- Before version 7 the script's name and line stand before these words.
      for _, word in ipairs({ 'OOM', 'READONLY', 'NOREPLICAS', 'MISCONF' }) do
        if string.find(stored.err, word, 1, true) then
          return '0'
        end
      end
      redis.call('SET', key, era, 'PX', ttl)
    end
  elseif redis.call('PTTL', key) < tonumber(ttl) * 3 / 4 then
    redis.pcall('PEXPIRE', key, ttl)
  end
  return era
end

-- Reads the record, and starts a new generation if another server, or this one after a restart, has become the master: whatever it
-- did not know of is not in this log. `base`: what an era is called that must be drawn; `ttl`: how long records last.
--
-- A script that only reads is answered also by a server that takes no writes: without memory, or a replica.
local function open(key, base, ttl, known)
  local master = known or master_replid()
  local field = redis.call('HMGET', key, 'base', 'replid', 'chain', 'offset', 'time', 'bytes', 'oldest')
  local room = {
    record = key,
    base = field[1] or '',
    drawn = base,
    ttl = ttl,
    replid = field[2] or master,
    chain = field[3] or '',
    offset = tonumber(field[4] or 0),
    time = tonumber(field[5] or 0),
    bytes = tonumber(field[6] or 0),
    oldest = tonumber(field[7] or 0),
  }
  if not field[1] then
    room.epoch = 'n' .. era_of(key, base, ttl) .. '.' .. whole(step_of(ttl))
    return room
  end
  if room.replid ~= master then
    room.chain = next_chain(room.chain, room.replid, room.offset)
    room.replid = master
    redis.pcall('HSET', key, 'replid', master, 'chain', room.chain, 'packed', '')
  end
  room.epoch = room.base .. '.' .. room.replid
  return room
end

-- How far the events of an older epoch are this log's own; nil if nothing is known of it. A slot that went and came back
-- has a generation twice: its last stay reaches furthest, and nothing was lost between.
--
-- Where nothing was published yet when a position was read, this record is the room's first since then: one before it would have
-- lasted longer than two steps. `room.era`: the slot's era where it must not be drawn.
local function boundary(room, epoch)
  local era, step = string.match(epoch, '^n(%x+)%.(%d+)$')
  if era then
    local steps = step_of(room.ttl) - tonumber(step)
    local is_known = era ~= '0' and steps >= 0 and steps <= 1 and era == (room.era or era_of(room.record, room.drawn, room.ttl))
    -- A client may have kept this epoch beside offsets that came later: up to the first generation's end they are this log's own.
    local first, links = string.match(room.chain, ':(%d+)'), select(2, string.gsub(room.chain, ':', ''))
    return is_known and (links < MAX_CHAIN and tonumber(first or room.offset) or 0) or nil
  end
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
