-- A pod does not look after these users any more.
-- KEYS: the users that it looks after. ARGV: those users.
return redis.call('SREM', KEYS[1], unpack(ARGV))
