-- Reads a user's record.
-- KEYS: the record. Answers {the time (ms), the record, if there is one}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local record = redis.call('GET', KEYS[1])
return record and { now, record } or { now }
