-- Takes, renews or gives back the lease on legacy publishers' messages.
-- KEYS: the lease. ARGV: pod, how long it lasts (ms; 0: give it back), 1: take it if it is free.
-- Answers {whether the pod has it, for how long whoever has it has it (ms)}.
local holder = redis.call('GET', KEYS[1])
local lasts = tonumber(ARGV[2])
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
