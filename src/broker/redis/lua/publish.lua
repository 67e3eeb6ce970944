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
local words = ARGV
local base, publish, kinds, last = words[1], words[2], tonumber(words[3]), #words
local call, type, tonumber, format = redis.pcall, type, tonumber, string.format
local pack, unpack_packed = struct.pack, struct.unpack

local now, master = now_ms(), master_replid()
local now_text = whole(now)

local policies, at = {}, 3
for i = 1, kinds do
  policies[whole(i)] = {
    ttl = tonumber(words[at + 1]), size = tonumber(words[at + 2]), bytes = tonumber(words[at + 3]),
    age = tonumber(words[at + 4]), key_ttl = words[at + 5], most = tonumber(words[at + 6]),
  }
  at = at + 6
end

local reply, told, messages, n = {}, {}, {}, 0
-- A room that is on its way to another server, and what an event of it met: those behind it must not overtake it.
local leaving = {}
local rooms, append, settle = {}, nil, nil
while at < last do
  n = n + 1
  local place, name, kind, attempt, event = words[at + 1], words[at + 2], words[at + 3], words[at + 4], words[at + 5]
  at = at + 5
  local policy, channel, once, content, value = policies[kind], place .. 'on:' .. name, '', '', ''
  if not policy and kind ~= '0' then
    policy = policies[string.match(kind, '^%d+')]
    if string.find(kind, 'k', 1, true) then
      once, content = words[at + 1], words[at + 2]
      at = at + 2
    end
    if string.find(kind, 'v', 1, true) then
      at = at + 1
      value = words[at]
    end
  end
  if not policy then
    reply[n], told[n], messages[n] = '+', channel, event
  elseif leaving[channel] then
    reply[n] = leaving[channel]
  else
    local record, answer, position, stamp = place .. 'room:' .. name, nil, nil, nil
    -- The short way, without a function or a table: the next event of a log that is known and needs no care. Where it meets anything
    -- else, it has done nothing, or takes it back.
    if policy.size > 0 and value == '' and #attempt == ATTEMPT and not rooms[record] then
      local field = call('HMGET', record, 'packed', 'offset')
      local packed, was = field[1], field[2]
      if packed and #packed == PACKED_BYTES then
        local life, replid, offset, time, bytes, oldest, renewed = unpack_packed(PACKED, packed)
        local grown = bytes + #event + EVENT_COST
        if replid == master and offset == tonumber(was) and offset > 0 and offset < LAST_OFFSET
          and (offset < policy.size or (offset + 1) % SLACK > 0) and bytes > 0 and grown <= policy.bytes
          and renewed >= now + policy.age and oldest + policy.age * 9 / 8 > now then
          local off, since, when = format('%d', offset + 1), now_text, now
          if time > now then
            since, when = format('%d', time), time
          end
          position = life .. '.' .. replid .. ' ' .. off
          local key, is_free = once ~= '' and place .. once, true
          if key then
            is_free = not call('GET', key)
              and not call('SET', key, content == '' and position or position .. '\n' .. content, 'PX', policy.key_ttl).err
          end
          if is_free then
            local written = call('HSET', record, 'packed', pack(PACKED, life, replid, offset + 1, when, grown, oldest, renewed),
              'offset', off, 'time', since, 'bytes', format('%d', grown))
            local added = type(written) == 'number'
              and call('XADD', place .. 'log:' .. name, off .. '-' .. since, 'e', event, 'a', attempt)
            if type(added) == 'string' then
              answer, stamp = position, since
            else
              call('HSET', record, 'packed', packed, 'offset', was, 'time', whole(time), 'bytes', whole(bytes))
              if key then
                forget(key)
              end
            end
          end
        end
      end
    end
    if not answer then
      if not append then
        append, settle = appending(base, master, now, now_text, rooms)
      end
      answer, position, stamp = append(place, name, once, content, policy, attempt, value, event)
    end
    reply[n] = answer
    if position then
      told[n], messages[n] = channel, 'e' .. position .. ' ' .. stamp .. '\n' .. event
    -- As in append.rs: each server has its own words for it, with "a" or "A".
    elseif string.find(answer, 'ttempted to', 1, true) or string.find(answer, 'cluster is down', 1, true) then
      leaving[channel] = answer
    end
  end
end
if settle then
  settle()
end

pcall(redis.set_repl, redis.REPL_NONE)
for i = 1, n do
  if told[i] then
    local heard = call(publish, told[i], messages[i])
    if type(heard) == 'table' then
      if publish == 'SPUBLISH' and string.find(heard.err, 'nknown') then
        -- What is in the log is told, also by a pod that does not know yet that this server has no sharded channels.
        heard = call('PUBLISH', told[i], messages[i])
      end
      if type(heard) == 'table' then
        reply[i] = reply[i] == '+' and '-' .. heard.err or reply[i] .. '\n' .. heard.err
      end
    end
  end
end
return reply
