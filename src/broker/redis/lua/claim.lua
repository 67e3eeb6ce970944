-- Takes, renews or gives back the lease on legacy publishers' messages.
-- KEYS: the lease, the one lease that pods of an older build have, how often the lease was taken, the channel of marks, where the pod that
--       has the lease listens.
-- ARGV: pod, how long it lasts (ms; 0: give it back), 1: take it if it is free, how long that count is kept (ms), a mark that says that the
--       lease is given back, where the pod listens.
-- Answers {whether the pod has it, for how long whoever has it has it (ms), 1: a pod of an older build does, how often another pod
--          could have taken it before, where another pod that has it listens (empty: none has, or it does not say)}.
local holder = redis.call('GET', KEYS[1])
local lasts = tonumber(ARGV[2])
local count = tonumber(redis.call('GET', KEYS[3]) or 0)
-- A pod of an older build takes all messages in: while there is one, it alone does.
if lasts > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  return { 0, math.max(redis.call('PTTL', KEYS[2]), 1), 1, count, '' }
end
if holder and holder ~= ARGV[1] then
  return { 0, math.max(redis.call('PTTL', KEYS[1]), 1), 0, count, redis.call('GET', KEYS[5]) or '' }
end
if lasts == 0 then
  if holder then
    redis.call('UNLINK', KEYS[1], KEYS[5])
    -- In the same step: what is published from now on comes behind the mark.
    redis.call('PUBLISH', KEYS[4], ARGV[5])
  end
  return { 0, 0, 0, count, '' }
end
if not holder then
  if ARGV[3] ~= '1' then
    return { 0, 0, 0, count, '' }
  end
  count = count + 1
end
redis.call('SET', KEYS[3], string.format('%.0f', count), 'PX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', lasts)
redis.call('SET', KEYS[5], ARGV[6], 'PX', lasts)
return { 1, lasts, 0, math.max(count - 1, 0), '' }
