-- Takes, keeps and gives back places of users. A user's places are a hash: for each connection ("POD/NAME") since when it has its place, in
-- microseconds, and when its pod last said so, in milliseconds. A place of which its pod has not spoken for the time to live does not count.
-- ARGV: time to live (ms), the most places of a user, what gives way ("oldest" or "newest"); then a claim's words:
--       the user's key, what is done, the connection, how long it has had its place (ms), how many pods follow, pod, pod…
--   what is done:  "?"  take a place if one is free; otherwise say which pods have them
--                  "+"  take one: the pods that follow are gone, their places are free, and what gives way gives way
--                  "="  keep one, whatever the limit      "-"  give it back
-- KEYS: none, or one that shows in which slot a claim is that is alone.
-- Answers a text a claim: "1" and the connections that gave way; "0": it has no place; "?" and pods; "-" and an error if nothing was done.
local ttl, most, gives_way = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local call = redis.pcall
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function failed(result)
  return type(result) == 'table' and result.err
end

local function write(key, connection, since)
  local written = call('HSET', key, connection, string.format('%d %d', since, now))
  if failed(written) then
    return '-' .. written.err
  end
  call('PEXPIRE', key, ttl)
  return '1'
end

local function since_of(value)
  return tonumber(string.match(value, '^%d+') or micros)
end

-- Claims of one call come one after the other.
local function since_now(age)
  micros = micros + 1
  return micros - age * 1000
end

-- The places that count, the oldest first. The others are taken out.
local function counted(key, gone)
  local all, held = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    local seen = tonumber(string.match(all[i + 1], '%d+$') or 0)
    if seen + ttl <= now or gone[string.match(all[i], '^[^/]*')] then
      redis.call('HDEL', key, all[i])
    else
      held[#held + 1] = { since_of(all[i + 1]), all[i] }
    end
  end
  table.sort(held, function(a, b)
    return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
  end)
  return held
end

local function take(key, connection, age, gone, decides)
  local count = call('HLEN', key)
  if failed(count) then
    return '-' .. count.err
  end
  local known = redis.call('HGET', key, connection)
  if known or count < most then
    return write(key, connection, known and since_of(known) or since_now(age))
  end
  local held = counted(key, gone)
  if #held < most then
    return write(key, connection, since_now(age))
  end
  local said = {}
  if not decides then
    local named = {}
    for i = 1, #held do
      local pod = string.match(held[i][2], '^[^/]*')
      if not named[pod] then
        named[pod], said[#said + 1] = true, pod
      end
    end
    return '? ' .. table.concat(said, ' ')
  end
  if gives_way ~= 'oldest' then
    return '0'
  end
  local written = write(key, connection, since_now(age))
  if written ~= '1' then
    return written
  end
  said[1] = '1'
  for i = 1, #held - most + 1 do
    redis.call('HDEL', key, held[i][2])
    said[#said + 1] = held[i][2]
  end
  return table.concat(said, ' ')
end

local function keep(key, connection, age)
  local known = call('HGET', key, connection)
  if failed(known) then
    return '-' .. known.err
  end
  return write(key, connection, known and since_of(known) or since_now(age))
end

local function give_back(key, connection)
  local done = call('HDEL', key, connection)
  return failed(done) and '-' .. done.err or '1'
end

local reply, i = {}, 4
while i <= #ARGV do
  local key, does, connection, age, pods = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local gone = {}
  for n = 1, pods do
    gone[ARGV[i + 4 + n]] = true
  end
  i = i + 5 + pods
  if does == '-' then
    reply[#reply + 1] = give_back(key, connection)
  elseif does == '=' then
    reply[#reply + 1] = keep(key, connection, age)
  else
    reply[#reply + 1] = take(key, connection, age, gone, does == '+')
  end
end
return reply
