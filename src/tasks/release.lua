-- release: makes scheduled and retrying tasks ready whose time has come, and goes on telling dependents of ended tasks.
-- ARGV[4] most tasks to touch
-- -> {{descriptions}, {ended}, more}
local most = tonumber(ARGV[4])
local out, ended = {}, {}
local timers = P .. ':timers'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, most)) do
  redis.call('ZREM', timers, id)
  local state = redis.call('HGET', K('task', id), 's')
  if state == 'scheduled' or state == 'retrying' then make_ready(id, out) end
end
local spreading = redis.call('ZRANGEBYSCORE', P .. ':releasing', '-inf', now, 'LIMIT', 0, 50)
local more = 0
if #spreading > 0 then more = spread(spreading, most - #out, out, ended) end
if #out >= most then more = 1 end
flush_notices()
return { out, ended, more }
