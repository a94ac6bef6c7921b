-- claim: grants attempts of ready tasks, a batch of them.
-- ARGV[4..] per claim 3: id, holder, redelivered 0|1
-- -> per claim {"granted", attempt, token, failed, max, waited ms} | {"held", holder} | {"obsolete", state} | {"unknown"}
local answers = {}
local i = 4
while ARGV[i] do
  local id, holder = ARGV[i], ARGV[i + 1]
  local t = redis.call('HMGET', K('task', id), unpack(GRANT_FIELDS))
  local answer
  if not t[1] then
    answer = { 'unknown' }
  else
    -- A bus-only agent holds its delivery until it is done: if the broker delivers it again, that attempt is over.
    local late = is_late(t[3])
    if t[1] == 'running' and ARGV[i + 2] == '1' and string.sub(t[2], 1, 4) == 'bus:' and not late then
      redis.call('SREM', P .. ':held:' .. t[2], id)
      redis.call('HINCRBY', K('task', id), 'l', 1)
      t[1] = 'ready'
    end
    if t[1] == 'ready' and not late then
      local g = grant(id, holder, t)
      answer = { 'granted', g[1], g[2], g[3], g[4], g[5] }
    elseif t[1] == 'running' then
      answer = { 'held', t[2] }
    else
      answer = { 'obsolete', t[1] }
    end
  end
  answers[#answers + 1] = answer
  i = i + 3
end
return answers
