-- Renews a pod's lease, or gives it up.
-- KEYS: the leases, the pod's address. ARGV: pod, how long it lasts (ms; 0: no longer), where the pod is found (empty: nowhere).
-- Answers {whether it had not run out, pod, pod…}: every pod whose lease runs.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_then = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local lasts = tonumber(ARGV[2])
if lasts == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('UNLINK', KEYS[2])
else
  redis.call('ZADD', KEYS[1], now + lasts, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000)
  redis.call('PEXPIRE', KEYS[1], 3600000)
  if ARGV[3] ~= '' then
    redis.call('SET', KEYS[2], ARGV[3], 'PX', lasts)
  end
end
local reply = { until_then > now and 1 or 0 }
for _, pod in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  reply[#reply + 1] = pod
end
return reply
