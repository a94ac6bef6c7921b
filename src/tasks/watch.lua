-- watch: the outcome of a task, or a note of who wants to hear it. Also for a run of several tasks.
-- ARGV[4] id  [5] instance
-- -> {"final", outcome JSON} | {"run", status} | {"pending"} | {"unknown"}
local id = ARGV[4]
if redis.call('EXISTS', K('task', id)) == 1 then
  local outcome = redis.call('GET', K('outcome', id))
  if outcome then return { 'final', outcome } end
  redis.call('HSET', K('task', id), 'w', 1)
else
  local status = redis.call('HGET', K('run', id), 's')
  if not status then return { 'unknown' } end
  if status == 'completed' or status == 'failed' then return { 'run', status } end
  redis.call('HSET', K('run', id), 'w', 1)
end
redis.call('SADD', K('watchers', id), ARGV[5])
return { 'pending' }
