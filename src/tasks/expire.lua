-- expire: deletes finished runs whose retention is over, and runs that were never submitted whole.
-- ARGV[4] most tasks to delete
-- -> tasks deleted
local most = tonumber(ARGV[4])
local deleted = 0
local retention = P .. ':retention'
local function forget(id)
  for _, kind in ipairs({ 'task', 'body', 'outcome', 'open', 'after', 'dependents', 'watchers' }) do redis.call('UNLINK', K(kind, id)) end
  redis.call('ZREM', P .. ':deadlines', id)
  deleted = deleted + 1
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', retention, '-inf', now, 'LIMIT', 0, most)) do
  if deleted >= most then break end
  local run_key = P .. ':run:{' .. id .. '}'
  local status = redis.call('HGET', run_key, 's')
  if status == 'running' then
    redis.call('ZREM', retention, id)
  elseif status then
    local members = P .. ':members:{' .. id .. '}'
    local keys = redis.call('LPOP', members, most - deleted)
    for _, key in ipairs(keys or {}) do forget(join(id, key)) end
    if redis.call('LLEN', members) == 0 then
      redis.call('DEL', run_key, P .. ':watchers:{' .. id .. '}', P .. ':dependents:{' .. id .. '}')
      redis.call('ZREM', retention, id)
      redis.call('ZREM', P .. ':runs', id)
    end
  else
    forget(id)
    redis.call('ZREM', retention, id)
    redis.call('ZREM', P .. ':runs', id)
  end
end
return deleted
