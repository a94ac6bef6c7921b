#!lua
-- silent: condemns instances whose lease ran out and those whose process is gone, and lists all that are condemned.
-- ARGV[3..] per gone instance 2: instance, its lease as it was when seen gone (a lease renewed since then proves life)
-- -> {{instance, agent | "", "lease_expired" | "agent_gone"}...}, at most 1000
for i = 3, #ARGV, 2 do
  if redis.call('ZSCORE', INSTANCES, ARGV[i]) == ARGV[i + 1] then redis.call('ZADD', INSTANCES, GONE, ARGV[i]) end
end
local silent = redis.call('ZRANGEBYSCORE', INSTANCES, '-inf', ms(now), 'WITHSCORES', 'LIMIT', 0, 1000)
local out = {}
for i = 1, #silent, 2 do
  local instance, lease = silent[i], tonumber(silent[i + 1])
  if lease > GONE then redis.call('ZADD', INSTANCES, EXPIRED, instance) end
  out[#out + 1] = { instance, redis.call('HGET', OWNERS, instance) or '', lease == GONE and 'agent_gone' or 'lease_expired' }
end
return out
