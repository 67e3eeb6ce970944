-- Reads where rooms of one slot stand, and keeps the records known of rooms that have members.
-- KEYS: records. ARGV: the name of an era that must be drawn, time to live (ms) of rooms without and with events.
-- Answers {epoch, offset, epoch, offset…}.
local reply = {}
local master = master_replid()
for _, record in ipairs(KEYS) do
  local room = open(record, ARGV[1], ARGV[3], master)
  if room.base ~= '' then
    redis.pcall('PEXPIRE', record, room.offset > 0 and ARGV[3] or ARGV[2])
  end
  reply[#reply + 1] = room.epoch
  reply[#reply + 1] = whole(room.offset)
end
return reply
