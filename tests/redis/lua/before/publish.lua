-- Appends an event and publishes it, in one step.
-- KEYS: record, log, idempotency key, then the retained values and their order if there are any to keep.
-- ARGV: base for a new life, time to live of the room, of the key (ms); channel, PUBLISH or SPUBLISH, the event;
--       the log's size, bytes and age (ms), 0 for no log; most retained values, the value's name, whether it is removed.
-- Answers "epoch offset"; where the event is in the log and something else about it was refused, also a line that says what.
local base, room_ttl, key_ttl, channel, publish, event = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local size, limit, age = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local record, log, key, values, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- More than this many events too many are trimmed at once; readers leave out what is too much.
local SLACK = 16

local known = redis.call('GET', key)
if known and known ~= '' then
  -- A write, so that whoever waits for replicas after it waits for the event as well.
  redis.call('PEXPIRE', key, key_ttl)
  return known
end
local now = now_ms()
local room, unwritable = open(record, base, room_ttl)
if not room then
  return redis.error_reply(unwritable)
end
if room.offset >= 9007199254740991 then
  return redis.error_reply('FULL the room has used up its offsets')
end
local offset = room.offset + 1
-- The clock may be set back, or be another server's; a room's times are not.
local time = math.max(now, room.time)
local position = room.epoch .. ' ' .. whole(offset)
local keeps_log = size > 0

local function failed(result)
  return type(result) == 'table' and result.err
end

-- A log that is not a log, or that is ahead of its record, is another program's, or what a partial restore left: it begins
-- anew. Every other error says nothing about the log, which stays.
local function is_foreign(err)
  return string.find(err, 'WRONGTYPE', 1, true) or string.find(err, 'equal or smaller', 1, true)
    or string.find(err, 'exhausted the last possible ID', 1, true)
end

local length, foreign = 0, false
if keeps_log then
  length = redis.pcall('XLEN', log)
  if failed(length) then
    if not is_foreign(length.err) then
      return redis.error_reply(length.err)
    end
    length, foreign = 0, true
  end
end

-- The first write. A server without memory, a replica, and one that cannot save refuse it, and with it the whole event.
redis.call('SET', key, position, 'PX', key_ttl)

local cost, bytes, oldest = #event + EVENT_COST, 0, time
if keeps_log then
  if length > 0 then
    bytes, oldest = room.bytes, room.oldest
  end
  bytes = bytes + cost
end
local function write_record()
  return redis.pcall('HSET', record, 'offset', offset, 'time', whole(time), 'bytes', bytes, 'oldest', whole(oldest))
end

-- Takes back what was written of an event that is refused: a user may run one command and not the next.
local function refuse(err)
  redis.pcall('HSET', record, 'offset', whole(room.offset), 'time', whole(room.time), 'bytes', whole(room.bytes), 'oldest',
    whole(room.oldest))
  -- Until it is gone, an empty one is none.
  if failed(redis.pcall('UNLINK', key)) then
    redis.pcall('SET', key, '', 'PX', 1)
  end
  return redis.error_reply(err)
end

local written = write_record()
if failed(written) then
  return refuse(written.err)
end
if keeps_log then
  -- What an eviction or a partial restore may have left is another life's.
  foreign = foreign or (offset == 1 and length > 0)
  local id = whole(offset) .. '-' .. whole(time)
  local added = not foreign and redis.pcall('XADD', log, id, 'e', event)
  if failed(added) and is_foreign(added.err) then
    foreign = true
  end
  if foreign then
    added = redis.pcall('UNLINK', log)
    if not failed(added) then
      added = redis.pcall('XADD', log, id, 'e', event)
    end
    length, bytes, oldest = 0, cost, time
  end
  if failed(added) then
    return refuse(added.err)
  end
  if foreign then
    write_record()
  end
end

-- The event is in the log, and its place is taken. What fails from here on does not change that: it is told beside the answer.
local trouble
local function try(result)
  if failed(result) then
    trouble = trouble or result.err
  end
  return result
end

if keeps_log then
  if length + 1 >= size + SLACK or bytes > limit or oldest + age <= now then
    local cut = true
    while cut do
      cut = nil
      oldest = time
      local batch = try(redis.pcall('XRANGE', log, '-', whole(offset - 1), 'COUNT', SLACK))
      if failed(batch) then
        break
      end
      for _, entry in ipairs(batch) do
        local at, since = id_of(entry)
        if at > offset - size and since + age > now and bytes <= limit then
          oldest = since
          break
        end
        bytes = bytes - #entry[2][2] - EVENT_COST
        cut = at
      end
      if cut and failed(try(redis.pcall('XTRIM', log, 'MINID', whole(cut + 1)))) then
        break
      end
    end
    try(write_record())
  end
  try(redis.pcall('PEXPIRE', log, ARGV[9]))
elseif room.bytes > 0 then
  try(redis.pcall('UNLINK', log))
end
try(redis.pcall('PEXPIRE', record, room_ttl))

if values then
  local most, name = tonumber(ARGV[10]), ARGV[11]
  if offset == 1 then
    try(redis.pcall('UNLINK', values, order))
  end
  if ARGV[12] == '1' then
    try(redis.pcall('ZREM', order, name))
    try(redis.pcall('HDEL', values, name))
  elseif not failed(try(redis.pcall('HSET', values, name, whole(offset) .. '-' .. whole(time) .. ' ' .. event))) then
    try(redis.pcall('ZADD', order, offset, name))
    local count = try(redis.pcall('ZCARD', order))
    local excess = failed(count) and 0 or count - most
    if excess > 0 then
      local gone = try(redis.pcall('ZPOPMIN', order, math.min(excess, 1000)))
      for i = 1, failed(gone) and 0 or #gone, 2 do
        try(redis.pcall('HDEL', values, gone[i]))
      end
    end
    try(redis.pcall('PEXPIRE', values, room_ttl))
    try(redis.pcall('PEXPIRE', order, room_ttl))
  end
end

local message = 'e' .. position .. ' ' .. whole(time) .. '\n' .. event
local told = redis.pcall(publish, channel, message)
if failed(told) and publish == 'SPUBLISH' and string.find(told.err, 'nknown') then
  -- What is in the log is told, also by a pod that does not know yet that this server has no sharded channels.
  told = redis.pcall('PUBLISH', channel, message)
end
try(told)
return trouble and position .. '\n' .. trouble or position
