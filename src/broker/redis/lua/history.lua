-- Reads a part of the log.
-- KEYS: record, log, deleted events.
-- ARGV: the name of an era that must be drawn, how long a record lasts (ms); the log's size and age (ms); epoch and offset to continue from
--       (epoch empty: the newest), last offset wanted, most events, most bytes of payload.
-- Answers {epoch, after, offset, end, whether complete, id, event, id, event…}, oldest first.
local size, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local since_epoch, since_offset = ARGV[5], tonumber(ARGV[6])
local most_events, most_bytes = tonumber(ARGV[8]), tonumber(ARGV[9])
local log, deleted = KEYS[2], KEYS[3]

local room = open(KEYS[1], ARGV[1], ARGV[2])
local last = room.offset
local fresh = now_ms() - age

-- What stands in the place of an event that was deleted, as the hash holds it: an entry as the log has them; nil where none was.
local function placeholder(offset, held)
  local time, event = string.match(held or '', '^(%d+) (.*)$')
  return time and { whole(offset) .. '-' .. time, { 'e', event } }
end

local function tombstone(offset)
  return placeholder(offset, redis.call('HGET', deleted, whole(offset)))
end

local function time_of(offset)
  local entry = redis.call('XRANGE', log, whole(offset), whole(offset), 'COUNT', 1)[1] or tombstone(offset)
  if not entry then
    return nil
  end
  local _, time = id_of(entry)
  return time
end

-- The offset before the oldest event that counts: neither too old nor too many.
local base = last
if size > 0 and last > 0 then
  local lowest = math.max(last - size, 0) + 1
  local first = redis.call('XRANGE', log, whole(lowest), '+', 'COUNT', 1)[1]
  local low, time = last + 1, 0
  if first then
    low, time = id_of(first)
  end
  -- The oldest may be deleted ones. One is looked for alone, then twice as many each time: of most rooms none was deleted.
  local count = 1
  while low > lowest do
    local wanted = {}
    for offset = low - 1, math.max(low - count, lowest), -1 do
      wanted[#wanted + 1] = whole(offset)
    end
    local held = redis.call('HMGET', deleted, unpack(wanted))
    local met = 0
    while met < #wanted do
      local older = placeholder(low - 1, held[met + 1])
      if not older then
        break
      end
      low, time = id_of(older)
      met = met + 1
    end
    if met < #wanted then
      break
    end
    count = math.min(count * 2, 512)
  end
  if low <= last then
    local high = last + 1
    if time > fresh then
      high = low
    end
    -- Times do not turn back: the first fresh event is found by halving.
    while low < high do
      local middle = math.floor((low + high) / 2)
      local at = time_of(middle)
      if at and at > fresh then
        high = middle
      else
        low = middle + 1
      end
    end
    base = low - 1
  end
end

-- Events are stored with the length of their head, so that their payload can be told: byte 2 and 3.
local function payload_of(event)
  local high, low = string.byte(event, 2, 3)
  return #event - 3 - (high or 0) * 256 - (low or 0)
end

local answer = {}

-- Takes events one after another from `first` on, in steps of 1 or -1, up to `final`; how many.
local function take(first, final, step)
  local taken, bytes, expected = 0, 0, first
  while taken < most_events and (final - expected) * step >= 0 do
    local count = math.min(most_events - taken, 100)
    local batch
    if step > 0 then
      batch = redis.call('XRANGE', log, whole(expected), whole(final), 'COUNT', count)
    else
      batch = redis.call('XREVRANGE', log, whole(expected), whole(final), 'COUNT', count)
    end
    local place = 1
    repeat
      local entry = batch[place]
      if entry and id_of(entry) == expected then
        place = place + 1
      else
        -- A hole: something was deleted there, or it is not whole.
        entry = tombstone(expected)
        if not entry then
          return taken
        end
      end
      bytes = bytes + payload_of(entry[2][2])
      if bytes > most_bytes then
        return taken
      end
      taken = taken + 1
      answer[taken] = entry
      expected = expected + step
    until place > #batch or taken == most_events
  end
  return taken
end

local target = math.min(tonumber(ARGV[7]), last)
local after, offset, complete, taken
if since_epoch == '' then
  local floor = math.min(base, target)
  taken = take(target, floor + 1, -1)
  for i = 1, math.floor(taken / 2) do
    answer[i], answer[taken + 1 - i] = answer[taken + 1 - i], answer[i]
  end
  after, offset = target - taken, target
  complete = after == 0
else
  local from, exact = 0, false
  if since_epoch == room.epoch then
    from, exact = since_offset, true
  else
    local common = boundary(room, since_epoch)
    if common then
      -- Up to there both lives are one; an event above it has another successor here, or is gone.
      from, exact = math.min(since_offset, common), since_offset <= common
    end
  end
  -- Where nothing behind it is wanted, what the log has dropped since is not missing.
  after = exact and target <= from and from <= last and from or math.min(math.max(from, base), last)
  taken = take(after + 1, math.max(target, after), 1)
  offset = after + taken
  complete = exact and after == since_offset and offset >= target
end

local reply = { room.epoch, whole(after), whole(offset), whole(last), complete and '1' or '0' }
for i = 1, taken do
  reply[#reply + 1] = answer[i][1]
  reply[#reply + 1] = answer[i][2][2]
end
return reply
