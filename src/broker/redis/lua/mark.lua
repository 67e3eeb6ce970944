-- Publishes a mark among the plain messages. KEYS: the channel of marks. ARGV: the mark.
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
