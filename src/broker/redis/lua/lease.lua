-- Renews a pod's lease, or gives it up, and notes that the pod goes.
-- KEYS: the leases, the pod's address, the pods that go. ARGV: pod, how long it lasts (ms; 0: no longer), where the pod is found (empty:
-- nowhere), for how long it is to be known that the pod goes (ms; 0: it does not).
-- Answers {whether it had not run out, how many follow, pod, pod… (their leases run), pod, pod… (they go)}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_then = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local lasts, leaving = tonumber(ARGV[2]), tonumber(ARGV[4])
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
if leaving > 0 then
  redis.call('ZADD', KEYS[3], now + leaving, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  redis.call('PEXPIRE', KEYS[3], leaving)
end
local live = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
local reply = { until_then > now and 1 or 0, #live }
for _, pod in ipairs(live) do
  reply[#reply + 1] = pod
end
for _, pod in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '+inf')) do
  reply[#reply + 1] = pod
end
return reply
