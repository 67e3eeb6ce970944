-- Takes an event out of a log, and out of the retained values: another event stands in its place in the log from then on.
-- KEYS: record, log, deleted events, values, their order.
-- ARGV: the name of an era that must be drawn, how long a record lasts (ms), the log's size and age (ms), the event's epoch and offset, what
--       stands in its place.
-- Answers {1}: it is deleted, now or before; {0}: neither the log nor the values have such an event.
-- The log's entry is gone, and its offset is a field of the hash of deleted events: "TIME EVENT". `history.lua` reads it where it meets the
-- hole.
local size, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local epoch, offset, tombstone = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local log, deleted, values, order = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local room = open(KEYS[1], ARGV[1], ARGV[2])
local reach = epoch == room.epoch and room.offset or boundary(room, epoch)
if not reach or offset < 1 or offset > reach then
  return { 0 }
end
local at = whole(offset)

-- A value outlasts its event.
local was_value = false
for _, name in ipairs(redis.call('ZRANGEBYSCORE', order, at, at)) do
  redis.call('HDEL', values, name)
  redis.call('ZREM', order, name)
  was_value = true
end

local fresh = now_ms() - age
local entry = redis.call('XRANGE', log, at, at, 'COUNT', 1)[1]
local is_kept, time = false, 0
if entry then
  time = select(2, id_of(entry))
  is_kept = offset > room.offset - size and time > fresh
end
if is_kept then
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
end
if entry then
  -- Also one that readers leave out already, until it is trimmed.
  redis.call('XDEL', log, entry[1])
  -- Without `packed` the next event reads the other fields.
  local bytes = math.max(room.bytes - #entry[2][2] - EVENT_COST, 0)
  redis.call('HSET', KEYS[1], 'bytes', whole(bytes), 'packed', '')
end
-- What the log has was looked for first: of a room's life before this one a hash may be left.
local was_deleted = not entry and offset > room.offset - size and redis.call('HGET', deleted, at)
if was_deleted then
  -- What an erased user's event left in its place goes as well.
  redis.call('HSET', deleted, at, string.match(was_deleted, '^%d+') .. ' ' .. tombstone)
end
return { (is_kept or was_value or was_deleted) and 1 or 0 }
