-- Some of the users that a pod looks after.
-- KEYS: those users. ARGV: how many at most.
return redis.call('SRANDMEMBER', KEYS[1], ARGV[1])
