#!lua
-- leave: takes an agent out of the choice. 'stopped' deletes its record; 'lease_expired' keeps it, so that it shows as offline.
-- The instance is forgotten at once when it holds nothing; otherwise it is condemned, and the reaper rescues what it holds.
-- ARGV[3] agent id  [4] instance  [5] reason stopped|lease_expired
-- -> 1 it was this instance's agent until now; for 'stopped' also: an offline record was deleted | 0 nothing to do
local agent, instance, reason = ARGV[3], ARGV[4], ARGV[5]
local json = redis.call('HGET', AGENTS, agent)
local record = json and cjson.decode(json)
-- An older process of the same agent says goodbye: the newer one stays.
if not record or record.instance ~= instance then return 0 end

local owned = redis.call('HDEL', OWNERS, instance)
for _, capability in ipairs(record.capabilities) do redis.call('HDEL', P .. ':offers:' .. capability.name, agent) end
-- What waits in the inbox of an agent that left must not fill its slots when it comes back.
redis.call('DEL', P .. ':reserved:' .. agent)
redis.call('SREM', P .. ':draining', agent)
redis.call('HDEL', P .. ':health', agent)
if reason == 'stopped' then
  redis.call('HDEL', AGENTS, agent)
  redis.call('DEL', P .. ':beat:' .. agent)
  if redis.call('EXISTS', P .. ':held:' .. instance) == 0 then redis.call('ZREM', INSTANCES, instance) end
end
if lease_of(instance) > now then redis.call('ZADD', INSTANCES, EXPIRED, instance) end
if owned == 1 then announce_left(agent, instance, reason) end
return (owned == 1 or reason == 'stopped') and 1 or 0
