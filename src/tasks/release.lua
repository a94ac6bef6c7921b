-- release: makes scheduled and retrying tasks ready whose time has come, and goes on telling dependents of ended tasks.
-- ARGV[4] most tasks to touch
-- -> {{descriptions}, {ended}, more}
local most = tonumber(ARGV[4])
local out, ended = {}, {}
local timers = P .. ':timers'
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, most)
for _, id in ipairs(due) do
  redis.call('ZREM', timers, id)
  local state = redis.call('HGET', K('task', id), 's')
  if state == 'scheduled' or state == 'retrying' then make_ready(id, out) end
end
local spreading = redis.call('ZRANGE', P .. ':releasing', 0, 49)
if #spreading > 0 then spread(spreading, most - #due, out, ended) end
local more = (#due >= most or redis.call('EXISTS', P .. ':releasing') == 1) and 1 or 0
flush_notices()
return { out, ended, more }
