-- Takes an event out of a log, and out of the retained values: another event stands in its place from then on.
-- KEYS: record, log, deleted events, values, their order.
-- ARGV: the name of an era that must be drawn, how long a record lasts (ms), the log's size and age (ms), the event's epoch and offset, what
--       stands in its place.
-- Answers {1}: it is deleted, now or before; {0}: the log has no such event.
-- The log's entry is gone, and its offset is a field of the hash of deleted events: "TIME EVENT". `history.lua` reads it where it meets the
-- hole.
local size, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local epoch, offset, tombstone = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local log, deleted, values, order = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local room = open(KEYS[1], ARGV[1], ARGV[2])
local reach = epoch == room.epoch and room.offset or boundary(room, epoch)
if not reach or offset > reach or offset <= room.offset - size then
  return { 0 }
end
local at = whole(offset)
if redis.call('HEXISTS', deleted, at) == 1 then
  return { 1 }
end
local entry = redis.call('XRANGE', log, at, at, 'COUNT', 1)[1]
if not entry then
  return { 0 }
end
local _, time = id_of(entry)
local fresh = now_ms() - age
if time <= fresh then
  return { 0 }
end

-- What the log has let go of meanwhile is not kept here either.
local many = redis.call('HLEN', deleted)
if many > 0 and many % 256 == 0 then
  local all = redis.call('HGETALL', deleted)
  for i = 1, #all, 2 do
    if tonumber(all[i]) <= room.offset - size or (tonumber(string.match(all[i + 1], '^%d+')) or 0) <= fresh then
      redis.call('HDEL', deleted, all[i])
    end
  end
end
redis.call('HSET', deleted, at, whole(time) .. ' ' .. tombstone)
redis.call('PEXPIRE', deleted, whole(math.max(age, tonumber(ARGV[2])) * 9 / 8))
redis.call('XDEL', log, entry[1])
-- Without `packed` the next event reads the other fields.
local bytes = math.max(room.bytes - #entry[2][2] - EVENT_COST, 0)
redis.call('HSET', KEYS[1], 'bytes', whole(bytes), 'packed', '')
for _, name in ipairs(redis.call('ZRANGEBYSCORE', order, at, at)) do
  redis.call('HDEL', values, name)
  redis.call('ZREM', order, name)
end
return { 1 }
