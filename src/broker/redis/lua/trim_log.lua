-- Takes away what readers of a log leave out already: what is too old, or more than the log's size. Publishing does that now and then.
-- KEYS: record, log. ARGV: the name of an era that must be drawn, how long a record lasts (ms), the log's size and age (ms).
-- Answers {how many events went}.
local size, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local log = KEYS[2]

local room = open(KEYS[1], ARGV[1], ARGV[2])
local fresh, gone, bytes, last = now_ms() - age, 0, 0, nil
repeat
  local batch = redis.call('XRANGE', log, last and whole(last + 1) or '-', '+', 'COUNT', 100)
  local ends = #batch < 100
  for _, entry in ipairs(batch) do
    local offset, time = id_of(entry)
    if offset > room.offset - size and time > fresh then
      ends = true
      break
    end
    gone, bytes, last = gone + 1, bytes + #entry[2][2] + EVENT_COST, offset
  end
until ends
if last and room.base ~= '' then
  redis.call('XTRIM', log, 'MINID', whole(last + 1))
  redis.call('HSET', KEYS[1], 'bytes', whole(math.max(room.bytes - bytes, 0)), 'packed', '')
end
return { gone }
