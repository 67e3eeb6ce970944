-- Appends an event and publishes it, in one step.
-- KEYS: record, log, idempotency key, then the retained values and their order if there are any to keep.
-- ARGV: base for a new life, time to live of the room, of the key (ms); channel, PUBLISH or SPUBLISH, the event;
--       the log's size, bytes and age (ms), 0 for no log; most retained values, the value's name, whether it is removed.
-- Answers "epoch offset".
local base, room_ttl, key_ttl, channel, publish, event = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local size, limit, age = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local record, log, key, values, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- More than this many events too many are trimmed at once; readers leave out what is too much.
local SLACK = 16

local known = redis.call('GET', key)
if known then
  -- A write, so that whoever waits for replicas after it waits for the event as well.
  redis.call('PEXPIRE', key, key_ttl)
  return known
end
local now = now_ms()
local room = open(record, base, room_ttl)
if room.offset >= 9007199254740991 then
  return redis.error_reply('FULL the room has used up its offsets')
end
local offset = room.offset + 1
-- The clock may be set back, or be another server's; a room's times are not.
local time = math.max(now, room.time)
if offset == 1 then
  -- What an eviction or a partial restore may have left is another life's.
  redis.call('UNLINK', log)
  if values then
    redis.call('UNLINK', values, order)
  end
end

local bytes, oldest = 0, time
if size > 0 then
  local length = redis.call('XLEN', log)
  local cost = #event + EVENT_COST
  if length > 0 then
    bytes, oldest = room.bytes, room.oldest
  end
  bytes = bytes + cost
  local id = whole(offset) .. '-' .. whole(time)
  local added = redis.pcall('XADD', log, id, 'e', event)
  if type(added) == 'table' and added.err then
    -- A log that is not this room's, or not a log: it begins anew.
    redis.call('UNLINK', log)
    redis.call('XADD', log, id, 'e', event)
    length, bytes, oldest = 0, cost, time
  end
  if length + 1 >= size + SLACK or bytes > limit or oldest + age <= now then
    local cut = true
    while cut do
      cut = nil
      oldest = time
      local batch = redis.call('XRANGE', log, '-', whole(offset - 1), 'COUNT', SLACK)
      for _, entry in ipairs(batch) do
        local at, since = id_of(entry)
        if at > offset - size and since + age > now and bytes <= limit then
          oldest = since
          break
        end
        bytes = bytes - #entry[2][2] - EVENT_COST
        cut = at
      end
      if cut then
        redis.call('XTRIM', log, 'MINID', whole(cut + 1))
      end
    end
  end
  redis.call('PEXPIRE', log, ARGV[9])
elseif room.bytes > 0 then
  redis.call('UNLINK', log)
end
redis.call('HSET', record, 'offset', offset, 'time', whole(time), 'bytes', bytes, 'oldest', whole(oldest))
redis.call('PEXPIRE', record, room_ttl)

if values then
  local most, name = tonumber(ARGV[10]), ARGV[11]
  if ARGV[12] == '1' then
    redis.call('ZREM', order, name)
    redis.call('HDEL', values, name)
  else
    redis.call('HSET', values, name, whole(offset) .. '-' .. whole(time) .. ' ' .. event)
    redis.call('ZADD', order, offset, name)
    local excess = redis.call('ZCARD', order) - most
    if excess > 0 then
      local gone = redis.call('ZPOPMIN', order, math.min(excess, 1000))
      for i = 1, #gone, 2 do
        redis.call('HDEL', values, gone[i])
      end
    end
    redis.call('PEXPIRE', values, room_ttl)
    redis.call('PEXPIRE', order, room_ttl)
  end
end

local position = room.epoch .. ' ' .. whole(offset)
redis.call('SET', key, position, 'PX', key_ttl)
local message = 'e' .. position .. ' ' .. whole(time) .. '\n' .. event
local told = redis.pcall(publish, channel, message)
if type(told) == 'table' and told.err then
  -- What is in the log is told, also by a pod that does not know yet that this server has no sharded channels.
  if publish ~= 'SPUBLISH' or not string.find(told.err, 'nknown') then
    return redis.error_reply(told.err)
  end
  redis.call('PUBLISH', channel, message)
end
return position
