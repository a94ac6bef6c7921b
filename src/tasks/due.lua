-- due: ready tasks whose dispatch is due, most urgent class first, each kept from other relays for DISPATCH_MS.
-- ARGV[4] most
-- -> {{description, 1 if a broker confirmed it before}, ...}
local most = tonumber(ARGV[4])
local found = {}
for class = 0, 3 do
  local key = ready_key(class)
  local entries = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most - #found)
  for i = 1, #entries, 2 do
    local id, score = entries[i], tonumber(entries[i + 1])
    local t = redis.call('HMGET', K('task', id), 's', 'c', 'p', 'a', 'tp', 'rt', 'hp', 'to', 'lc')
    if t[1] == 'ready' then
      -- The half keeps "was confirmed" across the new reservation.
      local confirmed = score % 1 > 0 and 0.5 or 0
      redis.call('ZADD', key, now + DISPATCH_MS + confirmed, id)
      found[#found + 1] = { describe(id, t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9]), confirmed > 0 and 1 or 0 }
    else
      redis.call('ZREM', key, id)
    end
  end
  if #found >= most then break end
end
return found
