-- Reads a user's record.
-- KEYS: the record. ARGV: for how long it is to be kept from now on, if half of that is over (ms), or nothing: its user is not here.
-- Answers {the time (ms), the record, if there is one}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local record = redis.call('GET', KEYS[1])
-- Of a user that hides nothing is written: the time that is left says within half of it, and no better, when it was here.
if record and ARGV[1] and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) / 2 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return record and { now, record } or { now }
