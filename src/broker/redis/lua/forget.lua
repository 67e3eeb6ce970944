-- Forgets keys of one slot.
-- KEYS: they. Answers {how many there were}.
return { redis.call('UNLINK', unpack(KEYS)) }
