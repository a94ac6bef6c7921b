-- settle: ends or gives back attempts, a batch of them, each once (fenced by its token), and releases the dependents of what ended.
-- ARGV[4..] per settlement 8: id, token, holder, verdict complete|retry|die|hand_back, output | '', after ms | reason | '', error JSON | '',
--   take next: ',cap,cap,' | ''
-- -> per settlement {"settled" | "stale" | "unknown", {descriptions}, {ended}, more, next | 0}   next: {description, grant}
local answers = {}
local budget = BUDGET
local i = 4
while ARGV[i] do
  local id, token, verdict = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local key = K('task', id)
  -- END_FIELDS, then the fence.
  local t = redis.call('HMGET', key, 's', 'p', 'h', 'o', 'a', 'rv', 'n', 'd', 'w', 'g', 'k')
  if not t[1] then
    answers[#answers + 1] = { 'unknown', {}, {}, 0, 0 }
  elseif t[1] ~= 'running' or t[11] ~= token then
    answers[#answers + 1] = { 'stale', {}, {}, 0, 0 }
  else
    -- Who holds it is what was granted with the token, whatever the caller calls itself.
    local holder = t[3]
    local out, ended, spreading, more, taken = {}, {}, {}, 0, 0
    if verdict == 'complete' then
      end_task(id, 'completed', nil, ARGV[i + 4], nil, spreading, t)
    elseif verdict == 'die' then
      redis.call('HINCRBY', key, 'f', 1)
      end_task(id, 'dead', ARGV[i + 5], nil, ARGV[i + 6], spreading, t)
    else
      redis.call('SREM', P .. ':held:' .. holder, id)
      if t[7] then
        -- The attempt's timeout goes with it; the task's own deadline stays.
        if t[8] then redis.call('ZADD', P .. ':deadlines', t[8], id) else redis.call('ZREM', P .. ':deadlines', id) end
      end
      if verdict == 'retry' then
        redis.call('HINCRBY', key, 'f', 1)
        redis.call('HSET', key, 's', 'retrying', 'er', ARGV[i + 6])
        redis.call('ZADD', P .. ':timers', now + tonumber(ARGV[i + 5]), id)
      else
        make_ready(id, out)
      end
    end
    if #spreading > 0 then more, budget = spread(spreading, budget, out, ended) end
    -- One dependent may be run by the agent that released it, past the broker, when nothing more urgent waits anywhere.
    if ARGV[i + 7] ~= '' then
      for j = 1, #out do
        local d = out[j]
        if d[9] == '' and d[10] == '' and string.find(ARGV[i + 7], ',' .. d[2] .. ',', 1, true) then
          local urgent = 0
          for class = 0, d[3] - 1 do urgent = urgent + redis.call('ZCARD', ready_key(class)) end
          if urgent == 0 and not is_late(redis.call('HGET', K('task', d[1]), 'd')) then
            taken = { d, grant(d[1], holder) }
            table.remove(out, j)
          end
          break
        end
      end
    end
    answers[#answers + 1] = { 'settled', out, ended, more, taken }
  end
  i = i + 8
end
flush_notices()
return answers
