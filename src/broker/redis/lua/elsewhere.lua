-- What another pod, from the third key on, has under a connection's name: the same, if one has that.
local function elsewhere(connection, user)
  local other = false
  for k = 3, #KEYS do
    local there = redis.call('HGET', KEYS[k], connection)
    if there == user then
      return there
    end
    other = other or there
  end
  return other
end
