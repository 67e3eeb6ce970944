-- Takes, renews or gives back the lease on legacy publishers' messages.
-- KEYS: the lease, the one lease that pods of an older build have. ARGV: pod, how long it lasts (ms; 0: give it back), 1: take it if it is free.
-- Answers {whether the pod has it, for how long whoever has it has it (ms)}.
local holder = redis.call('GET', KEYS[1])
local lasts = tonumber(ARGV[2])
-- A pod of an older build takes all messages in: while there is one, it alone does.
if lasts > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  return { 0, math.max(redis.call('PTTL', KEYS[2]), 1) }
end
if holder and holder ~= ARGV[1] then
  return { 0, math.max(redis.call('PTTL', KEYS[1]), 0) }
end
if lasts == 0 then
  redis.call('UNLINK', KEYS[1])
  return { 0, 0 }
end
if not holder and ARGV[3] ~= '1' then
  return { 0, 0 }
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', lasts)
return { 1, lasts }
