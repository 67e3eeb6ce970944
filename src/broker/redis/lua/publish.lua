-- Appends events to the logs of any rooms that this server has, and tells them: each event whole or not at all. They are told after
-- all writes, and not to replicas: no pod listens there.
-- ARGV: base for new lives, PUBLISH or SPUBLISH, how many kinds of log; six numbers a kind: time to live of the room (ms), the log's
--       size (0: no log), bytes and age (ms), time to live of a key (ms), most retained values; then five words an event:
--   what the room's keys begin with, the room, its kind (0: it enters no log, and the last word is told as it is), its attempt (12
--   bytes, and behind them for how many ms it has been tried if it may have been done), the event; and if "k" follows its kind, its
--   key's name below what the keys begin with, and the fingerprint of its content (empty: any content is the same); if "v" follows,
--   the name of the value that it sets ("+" before it) or removes ("-").
-- KEYS: none, or one that shows in which slot an event is that is alone.
-- Answers a text an event: "epoch offset", or "+" where it enters no log, and where something else about it was refused also a line
-- that says what; "-" and an error if nothing was done; "!" if nothing was done because its key is that of another content; "?" if
-- an attempt of before may have been carried out and the log does not tell.
-- A key's value is the position, and the content's fingerprint as a second line.
-- A log's entry has the fields e: the event, a: its attempt. Fields behind them are left alone.
local base, publish, kinds = ARGV[1], ARGV[2], tonumber(ARGV[3])
local call, sub, max = redis.pcall, string.sub, math.max

-- Each so many events a log's length is looked at; readers leave out what is too much.
local SLACK = 16
-- The most steps of as many events that one event trims.
local STEPS = 16
-- How far back an attempt is searched for.
local SEARCHED = 256
-- How far the clocks of two servers may be apart (ms), one of which takes over from the other.
local CLOCKS = 2000
local ATTEMPT = 12

local now, master = now_ms(), master_replid()
local now_text = whole(now)

local policies, at = {}, 3
for i = 1, kinds do
  policies[whole(i)] = {
    ttl = tonumber(ARGV[at + 1]), size = tonumber(ARGV[at + 2]), bytes = tonumber(ARGV[at + 3]),
    age = tonumber(ARGV[at + 4]), key_ttl = ARGV[at + 5], most = tonumber(ARGV[at + 6]),
  }
  at = at + 6
end

local function failed(result)
  return type(result) == 'table' and result.err
end

-- A log that is not a log, or that is ahead of its record, is another program's, or what a partial restore left: it begins
-- anew. Every other error says nothing about the log, which stays.
local function is_foreign(err)
  return string.find(err, 'WRONGTYPE', 1, true) or string.find(err, 'equal or smaller', 1, true)
    or string.find(err, 'exhausted the last possible ID', 1, true)
end

-- The rooms of this call. A room's first event writes its record, so that one that may not be written refuses it; the others leave
-- that to the end.
local rooms, dirty = {}, {}

-- Reads a room's record. `oldest` begins with "+" since a pod of this build has renewed the keys' times to live, and no other has
-- written since; `renewed` is until when that serves.
local function room_of(record)
  local field = call('HMGET', record, 'base', 'replid', 'offset', 'time', 'bytes', 'oldest', 'renewed')
  if field.err then
    return nil, field.err
  end
  local room = {
    record = record, base = field[1] or base, replid = field[2] or master, offset = tonumber(field[3] or 0),
    time = tonumber(field[4] or 0), bytes = tonumber(field[5] or 0), oldest = tonumber(field[6] or 0), renewed = 0,
    is_new = not field[1],
  }
  if field[6] and sub(field[6], 1, 1) == '+' then
    room.renewed = tonumber(field[7] or 0)
  end
  if not room.is_new and room.replid ~= master then
    local chain = call('HGET', record, 'chain')
    if failed(chain) then
      return nil, chain.err
    end
    room.chain = next_chain(chain or '', room.replid, room.offset)
  end
  room.epoch = room.base .. '.' .. master
  rooms[record] = room
  return room
end

-- Writes all that an event may change in a record.
local function write_all(room)
  return call('HSET', room.record, 'offset', whole(room.offset), 'time', whole(room.time), 'bytes', whole(room.bytes), 'oldest',
    '+' .. whole(room.oldest), 'renewed', whole(room.renewed))
end

-- The epoch under which an event of this log was given its offset.
local function epoch_of(room, offset)
  local chain = room.chain or call('HGET', room.record, 'chain')
  for replid, last in string.gmatch(type(chain) == 'string' and chain or '', '(%x+):(%d+)') do
    if offset <= tonumber(last) then
      return room.base .. '.' .. replid
    end
  end
  return room.epoch
end

-- Whether an attempt of before was carried out: its position, false, or "?" where that cannot be known.
local function find(room, log, policy, attempt, since)
  if room.offset == 0 or room.time <= since then
    -- Nothing was published here meanwhile.
    return false
  end
  local newest = policy.size > 0 and call('XREVRANGE', log, '+', '-', 'COUNT', SEARCHED) or {}
  if newest.err then
    return '-' .. newest.err
  end
  for _, entry in ipairs(newest) do
    if entry[2][4] == attempt then
      -- A write, so that whatever waits for replicas after it waits for the event as well.
      call('PEXPIRE', room.record, whole(policy.ttl * 9 / 8))
      local offset = id_of(entry)
      return epoch_of(room, offset) .. ' ' .. whole(offset)
    end
  end
  local oldest = newest[#newest]
  if oldest then
    local offset, time = id_of(oldest)
    if offset == 1 or time <= since then
      return false
    end
  end
  return '?'
end

-- Takes away what is too old or too much, an eighth or a sixteenth later than it is, and then all of it. Returns what was refused.
local function trim(room, log, policy, offset, cost)
  local goal = room.bytes > policy.bytes and policy.bytes - policy.bytes / 16 or policy.bytes
  for _ = 1, STEPS do
    local batch = call('XRANGE', log, '-', whole(offset - 1), 'COUNT', SLACK)
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
      local trimmed = call('XTRIM', log, 'MINID', whole(cut + 1))
      if failed(trimmed) then
        return trimmed.err
      end
    end
    if #batch == 0 then
      bytes, oldest = cost, room.time
    end
    room.bytes, room.oldest = max(bytes, cost), oldest or room.oldest
    if oldest then
      return
    end
  end
end

-- What was refused of an event that is in its log.
local trouble
local function try(result)
  if failed(result) then
    trouble = trouble or result.err
  end
  return result
end

-- Takes back what was written of an event that is refused: a user may run one command and not the next.
local function refuse(room, was, once, policy, refusal)
  room.offset, room.time, room.bytes, room.oldest, room.renewed = unpack(was)
  if not dirty[room.record] then
    write_all(room)
    if room.offset == 0 then
      call('PEXPIRE', room.record, whole(policy.ttl))
    end
  end
  -- Until it is gone, an empty one is none.
  if once ~= '' and failed(call('UNLINK', once)) then
    call('SET', once, '', 'PX', 1)
  end
  return '-' .. refusal
end

-- Writes what an event changes in its room's record.
local function write(room, off, stamp, is_changed, keeps_log)
  local record = room.record
  if room.was_written then
    dirty[record] = room
  elseif room.is_new then
    return call('HSET', record, 'base', room.base, 'replid', master, 'offset', off, 'time', stamp, 'bytes', whole(room.bytes),
      'oldest', '+' .. whole(room.oldest), 'renewed', whole(room.renewed))
  elseif room.chain then
    return call('HSET', record, 'replid', master, 'chain', room.chain, 'offset', off, 'time', stamp, 'bytes', whole(room.bytes),
      'oldest', '+' .. whole(room.oldest), 'renewed', whole(room.renewed))
  elseif is_changed then
    return write_all(room)
  elseif keeps_log then
    return call('HSET', record, 'offset', off, 'time', stamp, 'bytes', whole(room.bytes))
  else
    return call('HSET', record, 'offset', off, 'time', stamp)
  end
end

-- Sets or removes a retained value. `count`: how many there were.
local function retain(values, order, policy, value, off, stamp, event, count)
  local field = sub(value, 2)
  if sub(value, 1, 1) == '-' then
    try(call('ZREM', order, field))
    try(call('HDEL', values, field))
  elseif not failed(try(call('HSET', values, field, off .. '-' .. stamp .. ' ' .. event))) then
    local added = try(call('ZADD', order, off, field))
    local excess = failed(added) and 0 or count + added - policy.most
    if excess > 0 then
      local gone = try(call('ZPOPMIN', order, math.min(excess, 1000)))
      for i = 1, failed(gone) and 0 or #gone, 2 do
        try(call('HDEL', values, gone[i]))
      end
    end
  end
end

-- Appends one event. Returns its answer, and if it is to be told, its position and time.
local function append(place, name, once, content, policy, attempt, value, event)
  local record = place .. 'room:' .. name
  local room, err = rooms[record], nil
  if not room then
    room, err = room_of(record)
    if not room then
      return '-' .. err
    end
  end
  if once ~= '' then
    once = place .. once
    local known = call('GET', once)
    if failed(known) then
      return '-' .. known.err
    elseif known and known ~= '' then
      local position, first = string.match(known, '^([^\n]*)\n?(.*)$')
      if content ~= '' and first ~= '' and content ~= first then
        return '!'
      end
      -- A write, so that whatever waits for replicas after it waits for the event as well.
      local kept = call('PEXPIRE', once, policy.key_ttl)
      return failed(kept) and '-' .. kept.err or position
    end
  end
  local log = place .. 'log:' .. name
  if #attempt > ATTEMPT then
    local found = find(room, log, policy, sub(attempt, 1, ATTEMPT), now - tonumber(sub(attempt, ATTEMPT + 1)) - CLOCKS)
    if found then
      return found
    end
    attempt = sub(attempt, 1, ATTEMPT)
  end
  if room.offset >= 9007199254740991 then
    return '-FULL the room has used up its offsets'
  end
  local keeps_log, is_foreign_log, is_first = policy.size > 0, false, room.offset == 0
  local was_offset, was_time, was_bytes, was_oldest, was_renewed =
    room.offset, room.time, room.bytes, room.oldest, room.renewed

  -- First what must be known before anything is written. It also shows that these keys are here.
  local held = was_bytes
  if keeps_log and room.renewed <= now then
    -- Its log may have run out.
    local length = call('XLEN', log)
    if not failed(length) then
      is_foreign_log = is_first and length > 0
    elseif is_foreign(length.err) then
      length, is_foreign_log = 0, true
    else
      return '-' .. length.err
    end
    if length == 0 then
      held = 0
    end
  end
  local values, order, count
  if policy.most > 0 then
    values, order = place .. 'values:' .. name, place .. 'order:' .. name
    if value ~= '' then
      local fields = call('HLEN', values)
      count = failed(fields) and fields or call('ZCARD', order)
      if failed(count) then
        return '-' .. count.err
      end
    end
  end

  local offset = room.offset + 1
  -- The clock may be set back, or be another server's; a room's times are not.
  local time = max(now, room.time)
  local off, stamp, cost = whole(offset), time == now and now_text or whole(time), #event + EVENT_COST
  local position = room.epoch .. ' ' .. off
  -- The times to live are renewed each eighth of what they must last.
  local lasts = keeps_log and policy.age or policy.ttl
  local renews = room.renewed < now + lasts or keeps_log and held == 0
  if once ~= '' then
    -- Pods of an older build take the second line for something that was refused beside.
    local known = content == '' and position or position .. '\n' .. content
    local written = call('SET', once, known, 'PX', policy.key_ttl)
    if failed(written) then
      return '-' .. written.err
    end
  end
  room.offset, room.time = offset, time
  if keeps_log then
    room.oldest = held > 0 and room.oldest or time
    room.bytes = held + cost
  else
    room.bytes = 0
  end
  if renews then
    room.renewed = now + lasts + math.floor(lasts / 8)
  end
  local written = write(room, off, stamp, renews or room.oldest ~= was_oldest or not keeps_log and was_bytes > 0, keeps_log)
  if failed(written) then
    return refuse(room, { was_offset, was_time, was_bytes, was_oldest, was_renewed }, once, policy, written.err)
  end
  room.was_written = true

  if keeps_log then
    local id = off .. '-' .. stamp
    local added = not is_foreign_log and call('XADD', log, id, 'e', event, 'a', attempt)
    if failed(added) and is_foreign(added.err) then
      is_foreign_log = true
    end
    if is_foreign_log then
      added = call('UNLINK', log)
      if not failed(added) then
        added = call('XADD', log, id, 'e', event, 'a', attempt)
      end
    end
    if failed(added) then
      return refuse(room, { was_offset, was_time, was_bytes, was_oldest, was_renewed }, once, policy, added.err)
    end
    if is_foreign_log then
      room.bytes, room.oldest, dirty[record] = cost, time, room
      renews = true
    end
  end

  -- The event is in the log, and its place is taken. What fails from here on does not change that: it is told beside the answer.
  trouble = nil
  if keeps_log then
    local length = offset % SLACK == 0 and try(call('XLEN', log)) or 0
    if not failed(length) and length > policy.size or room.bytes > policy.bytes
      or room.oldest + policy.age + policy.age / 8 <= now then
      trouble = trim(room, log, policy, offset, cost) or trouble
      dirty[record] = room
    end
  elseif was_bytes > 0 then
    try(call('UNLINK', log))
  end
  if values and is_first then
    try(call('UNLINK', values, order))
    count = 0
  end
  if value ~= '' then
    retain(values, order, policy, value, off, stamp, event, count)
    renews = renews or count == 0
  end
  if renews then
    local longer = math.floor(lasts / 8)
    if keeps_log then
      try(call('PEXPIRE', log, whole(policy.age + longer)))
    end
    try(call('PEXPIRE', record, whole(policy.ttl + longer)))
    if values then
      try(call('PEXPIRE', values, whole(policy.ttl + longer)))
      try(call('PEXPIRE', order, whole(policy.ttl + longer)))
    end
  end
  return trouble and position .. '\n' .. trouble or position, position, stamp
end

local reply, told, messages, n = {}, {}, {}, 0
-- A room that is on its way to another server, and what an event of it met: those behind it must not overtake it.
local leaving = {}
while at < #ARGV do
  n = n + 1
  local place, name, kind, attempt, event = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  at = at + 5
  local policy, channel, once, content, value = policies[kind], place .. 'on:' .. name, '', '', ''
  if not policy and kind ~= '0' then
    policy = policies[string.match(kind, '^%d+')]
    if string.find(kind, 'k', 1, true) then
      once, content = ARGV[at + 1], ARGV[at + 2]
      at = at + 2
    end
    if string.find(kind, 'v', 1, true) then
      at = at + 1
      value = ARGV[at]
    end
  end
  if not policy then
    reply[n], told[n], messages[n] = '+', channel, event
  elseif leaving[channel] then
    reply[n] = leaving[channel]
  else
    local answer, position, stamp = append(place, name, once, content, policy, attempt, value, event)
    reply[n] = answer
    if position then
      told[n], messages[n] = channel, 'e' .. position .. ' ' .. stamp .. '\n' .. event
    -- As in append.rs: each server has its own words for it, with "a" or "A".
    elseif string.find(answer, 'ttempted to', 1, true) or string.find(answer, 'cluster is down', 1, true) then
      leaving[channel] = answer
    end
  end
end

for record, room in pairs(dirty) do
  write_all(room)
end

pcall(redis.set_repl, redis.REPL_NONE)
for i = 1, n do
  if told[i] then
    local heard = call(publish, told[i], messages[i])
    if failed(heard) and publish == 'SPUBLISH' and string.find(heard.err, 'nknown') then
      -- What is in the log is told, also by a pod that does not know yet that this server has no sharded channels.
      heard = call('PUBLISH', told[i], messages[i])
    end
    if failed(heard) then
      reply[i] = reply[i] == '+' and '-' .. heard.err or reply[i] .. '\n' .. heard.err
    end
  end
end
return reply
