#!lua
-- beat: renews the lease of an instance. One that ran out unnoticed (Redis was away) is renewed; a condemned one is lost, so that
-- no task is given away while its old owner believes that it still holds it.
-- ARGV[3] instance  [4] lease ms
-- -> "renewed" | "lost"
local instance = ARGV[3]
local agent = redis.call('HGET', OWNERS, instance)
if agent then
  if lease_of(instance) <= GONE then return 'lost' end
  redis.call('SET', P .. ':beat:' .. agent, ms(now), 'PX', BEAT_MS)
elseif not (string.find(instance, '^manager%-%w+$') or string.find(instance, '^client%-%w+$')) then
  return 'lost'
end
-- Managers and clients hold no tasks: nothing was given away, so theirs always come back.
redis.call('ZADD', INSTANCES, now + tonumber(ARGV[4]), instance)
return 'renewed'
