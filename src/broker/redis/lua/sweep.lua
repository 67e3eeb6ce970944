-- Forgets what is kept under a user's name in keys that have other names, some keys at a time: idempotency keys, and sessions to be continued.
-- KEYS: one that shows which server is meant; it may not exist.
-- ARGV: where to go on ("0" at first), a pattern that all keys of the fleet fit, how the user's idempotency keys begin behind their
--       room, what stands in the sessions of the user, the user, then with what keys begin that go whatever user they are of.
-- Answers {where to go on ("0": that was all), and the rooms of which the user is an author behind "a", those that have retained values
-- behind "v"}.
local own, session, user = ARGV[3], ARGV[4], ARGV[5]

-- Whether an idempotency key is the user's. Where its room shares a log, the room stands before it.
local function is_own(name)
  if string.sub(name, 1, #own) == own then
    return true
  end
  local first, rest = string.match(name, '^(%S+) (.*)$')
  return first and first ~= '-' and not string.find(first, '^%d+:') and string.sub(rest, 1, #own) == own
end

local function goes(key)
  for i = 6, #ARGV do
    if string.sub(key, 1, #ARGV[i]) == ARGV[i] then
      return true
    end
  end
  local name = string.match(key, '}:retry:%S+ (.*)$')
  if name then
    return is_own(name)
  end
  if string.find(key, '}:value:socketio:', 1, true) then
    local value = redis.pcall('GET', key)
    return type(value) == 'string' and string.find(value, session, 1, true)
  end
end

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', '200')
local reply = { found[1] }
for _, key in ipairs(found[2]) do
  local kind, room = string.match(key, '^.-{[^}]*}:(%a+):(.*)$')
  if kind == 'authors' and type(redis.pcall('ZSCORE', key, user)) == 'string' then
    reply[#reply + 1] = 'a' .. room
  elseif kind == 'values' then
    reply[#reply + 1] = 'v' .. room
  end
  if goes(key) then
    redis.call('UNLINK', key)
  end
end
return reply
