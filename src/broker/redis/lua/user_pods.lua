-- Says that a pod looks after users, and which pods that did are gone; or that one which is gone looks after none any more.
-- KEYS: the leases, the pods that look after users by the time at which they said so last.
-- ARGV: pod, the pod that looks after none any more (or empty), for how long it is known what a pod left behind (ms).
-- Answers {pod, for how long its lease has not run (ms; empty: it was given up, or that was long ago), how long ago it said so (ms), pod…}.
if ARGV[2] ~= '' then
  redis.call('ZREM', KEYS[2], ARGV[2])
  return {}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local reply, all = {}, redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local pod, looked = all[i], tonumber(all[i + 1])
  local ended = redis.call('ZSCORE', KEYS[1], pod)
  if pod ~= ARGV[1] and (not ended or tonumber(ended) <= now) then
    reply[#reply + 1] = pod
    reply[#reply + 1] = ended and string.format('%d', now - tonumber(ended)) or ''
    reply[#reply + 1] = string.format('%d', now - looked)
  end
end
return reply
