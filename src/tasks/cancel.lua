-- cancel: ends a task that is not final, whatever it is doing. A running attempt's holder is told; its later result is stale.
-- ARGV[4] id  [5] cancelled | dead  [6] reason  [7] error JSON
-- -> {"cancelled" | "already_final", state before, holder | "", capability, {descriptions}, {ended}, more} | {"unknown"}
local id = ARGV[4]
local t = redis.call('HMGET', K('task', id), 's', 'h', 'c')
if not t[1] or is_open(id) then return { 'unknown' } end
if t[1] == 'completed' or t[1] == 'dead' or t[1] == 'cancelled' then
  return { 'already_final', t[1], '', t[3], {}, {}, 0 }
end
local out, ended, spreading = {}, {}, {}
end_task(id, ARGV[5], ARGV[6], nil, ARGV[7], spreading)
local holder = ''
if t[1] == 'running' then
  holder = t[2]
  notify(holder, '{"kind":"cancel","id":"' .. id .. '","reason":"' .. ARGV[6] .. '"}')
end
local more = spread(spreading, BUDGET, out, ended)
flush_notices()
return { 'cancelled', t[1], holder, t[3], out, ended, more }
