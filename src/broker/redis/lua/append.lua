-- How one event is appended, whatever there is to be done for it: a room that is new, begins a generation or was written by a pod of an
-- older build, a log that is trimmed, an attempt of before, a retained value, times to live that are renewed, what is refused.

-- How far back an attempt is searched for.
local SEARCHED = 256
-- How far the clocks of two servers may be apart (ms), one of which takes over from the other.
local CLOCKS = 2000
local ATTEMPT = 12
local LAST_OFFSET = 9007199254740991
-- A record's field `packed`: base, replication id, offset, time, bytes, oldest, and until when the keys' times to live serve. As long as
-- no value of a hash is longer than 64 bytes, Redis keeps it small.
local PACKED, PACKED_BYTES, BASE_BYTES = '>c12c12ddddd', 64, 12

-- Takes a key back: until it is gone, an empty one is none.
local function forget(once)
  if type(redis.pcall('UNLINK', once)) == 'table' then
    redis.pcall('SET', once, '', 'PX', 1)
  end
end

-- Makes the function that appends an event, and one that ends the call. Most calls need neither, and making functions takes time.
-- `rooms`: those that were read so, by the names of their records.
local function appending(base, master, now, now_text, rooms)
  local call, sub, max, type, tonumber = redis.pcall, string.sub, math.max, type, tonumber
  local pack, unpack_packed = struct.pack, struct.unpack

  local function failed(result)
    return type(result) == 'table' and result.err
  end

  -- A log that is not a log, or that is ahead of its record, is another program's, or what a partial restore left: it begins
  -- anew. Every other error says nothing about the log, which stays.
  local function is_foreign(err)
    return string.find(err, 'WRONGTYPE', 1, true) or string.find(err, 'equal or smaller', 1, true)
      or string.find(err, 'exhausted the last possible ID', 1, true)
  end

  -- A room's first event writes its record, so that one that may not be written refuses it; the others leave that to the end.
  local dirty = {}

  -- Reads a room's record field by field: it is new, or another server's, or a pod of an older build wrote last. What such a pod
  -- set the keys' times to live to is not known.
  local function unpacked_room(record)
    local field = call('HMGET', record, 'base', 'replid', 'offset', 'time', 'bytes', 'oldest', 'chain')
    if field.err then
      return nil, field.err
    end
    local room = {
      record = record, base = field[1] or base, offset = tonumber(field[3] or 0), time = tonumber(field[4] or 0),
      bytes = tonumber(field[5] or 0), oldest = tonumber(field[6] or 0), renewed = 0, writes_all = not field[1],
    }
    local replid = field[2] or master
    if not room.writes_all and replid ~= master then
      room.chain, room.writes_all = next_chain(field[7] or '', replid, room.offset), true
    end
    return room
  end

  -- Reads a room's record. Its fields that change are also in one, `packed`, which is all that need be read as long as it is of the
  -- last event: a pod of an older build writes the others and leaves it.
  local function room_of(record)
    local field = call('HMGET', record, 'packed', 'offset')
    if field.err then
      return nil, field.err
    end
    local packed, room, err = field[1], nil, nil
    if packed and #packed == PACKED_BYTES then
      local life, replid, offset, time, bytes, oldest, renewed = unpack_packed(PACKED, packed)
      if replid == master and offset == tonumber(field[2]) then
        room = {
          record = record, base = life, offset = offset, time = time, bytes = bytes, oldest = oldest, renewed = renewed,
        }
      end
    end
    if not room then
      room, err = unpacked_room(record)
      if not room then
        return nil, err
      end
    end
    room.epoch = room.base .. '.' .. master
    rooms[record] = room
    return room
  end

  -- The field `packed` of a record. A base of another length is no pod's; it is read as pods of an older build read it.
  local function packed_of(room)
    local life = room.base
    return #life == BASE_BYTES
      and pack(PACKED, life, master, room.offset, room.time, room.bytes, room.oldest, room.renewed) or ''
  end

  -- Writes all that an event may change in a record.
  local function write_all(room)
    return call('HSET', room.record, 'packed', packed_of(room), 'offset', whole(room.offset), 'time', whole(room.time), 'bytes',
      whole(room.bytes), 'oldest', whole(room.oldest))
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
    if room.was_written and not dirty[room.record] then
      write_all(room)
      if room.offset == 0 then
        call('PEXPIRE', room.record, whole(policy.ttl))
      end
    end
    if once ~= '' then
      forget(once)
    end
    return '-' .. refusal
  end

  -- Writes what an event changes in its room's record.
  local function write(room, off, stamp, is_changed)
    if room.was_written then
      dirty[room.record] = room
    elseif room.writes_all then
      return call('HSET', room.record, 'packed', packed_of(room), 'offset', off, 'time', stamp, 'bytes', whole(room.bytes), 'oldest',
        whole(room.oldest), 'base', room.base, 'replid', master, 'chain', room.chain or '')
    elseif is_changed then
      return write_all(room)
    else
      return call('HSET', room.record, 'packed', packed_of(room), 'offset', off, 'time', stamp, 'bytes', whole(room.bytes))
    end
  end

  -- Sets or removes a retained value. `count`: how many there were.
  local function retain(values, order, policy, value, off, stamp, event, count)
    local field = sub(value, 2)
    if sub(value, 1, 1) == '-' then
      -- In this order: a value whose field cannot be removed stays in `order`, by which it is found again.
      if not failed(try(call('HDEL', values, field))) then
        try(call('ZREM', order, field))
      end
    elseif not failed(try(call('HSET', values, field, off .. '-' .. stamp .. ' ' .. event))) then
      local added = try(call('ZADD', order, off, field))
      local excess = failed(added) and 0 or count + added - policy.most
      if excess > 0 then
        local oldest = try(call('ZRANGE', order, 0, math.min(excess, 1000) - 1))
        if not failed(oldest) and not failed(try(call('HDEL', values, unpack(oldest)))) then
          try(call('ZREM', order, unpack(oldest)))
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
        -- A write, so that whatever waits for replicas after it waits for the event as well. Also one that is refused keeps its key: what
        -- an archive has pending of it is looked after later.
        local kept = call('PEXPIRE', once, policy.key_ttl)
        if content ~= '' and first ~= '' and content ~= first then
          return '!'
        end
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
    if room.offset >= LAST_OFFSET then
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
    local written = write(room, off, stamp, room.oldest ~= was_oldest)
    if type(written) == 'table' then
      return refuse(room, { was_offset, was_time, was_bytes, was_oldest, was_renewed }, once, policy, written.err)
    end
    room.was_written = true

    if keeps_log then
      local id = off .. '-' .. stamp
      local added = not is_foreign_log and call('XADD', log, id, 'e', event, 'a', attempt)
      if type(added) == 'table' and is_foreign(added.err) then
        is_foreign_log = true
      end
      if is_foreign_log then
        added = call('UNLINK', log)
        if not failed(added) then
          added = call('XADD', log, id, 'e', event, 'a', attempt)
        end
      end
      if type(added) == 'table' then
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
      local excess = failed(length) and 0 or length - policy.size
      if excess > 0 or room.bytes > policy.bytes or room.oldest + policy.age + policy.age / 8 <= now then
        trouble = trim(room, log, policy, offset, cost, excess, now) or trouble
        dirty[record] = room
      end
    elseif was_bytes > 0 then
      try(call('UNLINK', log))
    end
    if is_first then
      -- What was deleted in a life of before is none of this log's.
      try(call('UNLINK', place .. 'deleted:' .. name))
      if values then
        try(call('UNLINK', values, order))
        count = 0
      end
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

  -- Writes the records that their events left to the end.
  local function settle()
    for record, room in pairs(dirty) do
      write_all(room)
    end
  end

  return append, settle
end
