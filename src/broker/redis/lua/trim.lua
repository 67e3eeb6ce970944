-- What is taken away of a log: it is too old, too much, or more than the log's size. What is left is counted exactly.

-- Each so many events a log's length is looked at; readers leave out what is too much.
local SLACK = 16
-- The most steps of as many events that one event trims.
local STEPS = 16

-- Takes away the oldest of a log that has so many too many, without a look at each one's id. Returns whether no more need go, or false
-- and what was refused.
local function drop(room, log, policy, offset, cost, excess, now)
  local count = math.min(excess, STEPS * SLACK)
  local batch = redis.pcall('XRANGE', log, '-', whole(offset - 1), 'COUNT', count + 1)
  local last = batch[count]
  if not last then
    return false, batch.err
  end
  local bytes = room.bytes
  for i = 1, count do
    bytes = bytes - #batch[i][2][2] - EVENT_COST
  end
  local trimmed = redis.pcall('XTRIM', log, 'MINID', whole(id_of(last) + 1))
  if type(trimmed) == 'table' then
    return false, trimmed.err
  end
  room.bytes = math.max(bytes, cost)
  local kept = batch[count + 1]
  if not kept then
    return false
  end
  local _, since = id_of(kept)
  room.oldest = since
  return count == excess and since + policy.age > now and room.bytes <= policy.bytes
end

-- Takes away what is too old or too much, an eighth or a sixteenth later than it is, and then all of it. `excess`: how many are too
-- many, as far as that was looked at. Returns what was refused.
local function trim(room, log, policy, offset, cost, excess, now)
  if excess > 0 then
    local is_done, refused = drop(room, log, policy, offset, cost, excess, now)
    if is_done or refused then
      return refused
    end
  end
  local goal = room.bytes > policy.bytes and policy.bytes - policy.bytes / 16 or policy.bytes
  for _ = 1, STEPS do
    local batch = redis.pcall('XRANGE', log, '-', whole(offset - 1), 'COUNT', SLACK + 1)
    if batch.err then
      return batch.err
    end
    local cut, bytes, oldest = nil, room.bytes, nil
    for _, entry in ipairs(batch) do
      local place, since = id_of(entry)
      if place > offset - policy.size and since + policy.age > now and bytes <= goal then
        oldest = since
        break
      end
      bytes = bytes - #entry[2][2] - EVENT_COST
      cut = place
    end
    if cut then
      local trimmed = redis.pcall('XTRIM', log, 'MINID', whole(cut + 1))
      if type(trimmed) == 'table' then
        return trimmed.err
      end
    end
    if #batch == 0 then
      bytes, oldest = cost, room.time
    end
    room.bytes, room.oldest = math.max(bytes, cost), oldest or room.oldest
    if oldest then
      return
    end
  end
end
