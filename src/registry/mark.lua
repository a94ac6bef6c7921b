#!lua
-- mark: sets or clears what is noted of an agent besides its record.
-- ARGV[3] agent id  [4] "draining"  [5] 0|1   or   [4] "health"  [5] health status
-- -> 1 done | 0 no such agent
local agent, what, value = ARGV[3], ARGV[4], ARGV[5]
local json = redis.call('HGET', AGENTS, agent)
if not json then return 0 end
if what == 'draining' then
  redis.call(value == '1' and 'SADD' or 'SREM', P .. ':draining', agent)
  announce('{"kind":"draining","agent_id":"' .. agent .. '","draining":' .. (value == '1' and 'true' or 'false') .. '}')
else
  redis.call('HSET', P .. ':health', agent, value)
  local record = cjson.decode(json)
  announce('{"kind":"changed","agent":' .. full_record(agent, record.instance, record.capacity, string.sub(json, 2)) .. '}')
end
return 1
