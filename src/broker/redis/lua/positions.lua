-- Reads where rooms of one slot stand, and keeps them known while somebody is in them.
-- KEYS: records. ARGV: base for new lives, time to live (ms) of rooms without and with events.
-- Answers {epoch, offset, epoch, offset…}.
local reply = {}
local master = master_replid()
for _, record in ipairs(KEYS) do
  local room = open(record, ARGV[1], ARGV[2], master, true)
  redis.pcall('PEXPIRE', record, room.offset > 0 and ARGV[3] or ARGV[2])
  reply[#reply + 1] = room.epoch
  reply[#reply + 1] = whole(room.offset)
end
return reply
