#!lua
-- load: how busy agents are and when they were last heard of.
-- ARGV[3..] per agent 2: agent id, instance
-- -> per agent 2: tasks held and reserved, ms of its last heartbeat | ""
local out = {}
for i = 3, #ARGV, 2 do
  out[#out + 1] = load_of(ARGV[i], ARGV[i + 1])
  out[#out + 1] = redis.call('GET', P .. ':beat:' .. ARGV[i]) or ''
end
return out
