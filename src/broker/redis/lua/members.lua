-- Carries out joins and leaves of one pod in one room, in order.
-- KEYS: the pod's members of the room, the room's pods; where edges' members are among them, the members of the other pods.
-- ARGV: pod, time to live (ms), channel (empty: nobody is told), PUBLISH or SPUBLISH, then triples of
--       "+" or "-" (with "@" behind it: of an edge), connection, user as it is stored ("u" and its name, or nothing).
-- Answers OK, or why the pods could not be told.
local pod, ttl, channel, publish = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local trouble = 'OK'
-- A member that was written is a member, whether or not that can be told.
local function tell(kind, connection, user)
  if channel ~= '' then
    local told = redis.pcall(publish, channel, kind .. connection .. '\n' .. user)
    if type(told) == 'table' and told.err then
      trouble = told.err
    end
  end
end
for i = 5, #ARGV, 3 do
  local sign, connection, user = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local of_edge = string.sub(sign, 2, 2) == '@'
  if string.sub(sign, 1, 1) == '+' then
    -- An edge that tells over another link says what is told already; one that says another user of a name that is in use tells nothing.
    if redis.call('HSET', KEYS[1], connection, user) == 1 and not (of_edge and elsewhere(connection, user)) then
      tell('j', connection, user)
    end
  else
    local was = redis.call('HGET', KEYS[1], connection)
    if was then
      redis.call('HDEL', KEYS[1], connection)
      local other = of_edge and elsewhere(connection, was)
      if other ~= was then
        tell('l', connection, was)
        -- Under this name that one stays.
        if other then
          tell('j', connection, other)
        end
      end
    end
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SADD', KEYS[2], pod)
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
else
  redis.call('SREM', KEYS[2], pod)
end
return redis.status_reply(trouble)
