-- Says that a pod looks after users, and which pods that did are gone.
-- KEYS: the leases, the pods that look after users. ARGV: pod, a pod that looks after none any more (or empty).
-- Answers {pod, for how long its lease has not run (ms; empty: it was given up), pod, …}.
local LASTS = 30 * 86400000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[2] ~= '' then
  redis.call('SREM', KEYS[2], ARGV[2])
end
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('PTTL', KEYS[2]) < LASTS / 2 then
  redis.call('PEXPIRE', KEYS[2], LASTS)
end
local reply = {}
for _, pod in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local ended = redis.call('ZSCORE', KEYS[1], pod)
  if pod ~= ARGV[1] and (not ended or tonumber(ended) <= now) then
    reply[#reply + 1] = pod
    reply[#reply + 1] = ended and string.format('%d', now - tonumber(ended)) or ''
  end
end
return reply
