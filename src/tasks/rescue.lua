-- rescue: takes back what an instance holds. Ready again without a burned attempt, unless the task outlived too many agents.
-- ARGV[4] instance  [5] most times a task may lose its agent  [6] most tasks to touch
-- -> {{descriptions}, {ended}, more}
local holder, most_lost = ARGV[4], tonumber(ARGV[5])
local held = P .. ':held:' .. holder
local out, ended, spreading = {}, {}, {}
-- In an order of their own, not the set's: what falls with them falls by the rule of the one that is told first.
local ids = redis.call('SPOP', held, ARGV[6])
table.sort(ids)
for _, id in ipairs(ids) do
  local key = K('task', id)
  local t = redis.call('HMGET', key, 's', 'h', 'c', 'n', 'd')
  if t[1] == 'running' and t[2] == holder then
    local lost = redis.call('HINCRBY', key, 'l', 1)
    if lost > most_lost then
      local err = '{"code":"AGENTS_LOST","message":"' .. lost .. ' agents vanished while running it, the last was ' .. holder .. '."}'
      end_task(id, 'dead', 'agents_lost', nil, err, spreading)
      ended[#ended + 1] = { id, t[3], 'dead', 'agents_lost' }
    else
      if t[4] then
        if t[5] then redis.call('ZADD', P .. ':deadlines', t[5], id) else redis.call('ZREM', P .. ':deadlines', id) end
      end
      make_ready(id, out)
    end
  end
end
local more = spread(spreading, BUDGET, out, ended)
if redis.call('SCARD', held) > 0 then more = 1 end
flush_notices()
return { out, ended, more }
