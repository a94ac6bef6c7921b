#!lua
-- forget: drops a condemned instance. One that joined again in the meantime stays.
-- ARGV[3] instance
-- -> 1 forgotten | 0 it is alive, or was not known
local instance = ARGV[3]
if lease_of(instance) > now then return 0 end
redis.call('HDEL', OWNERS, instance)
return redis.call('ZREM', INSTANCES, instance)
