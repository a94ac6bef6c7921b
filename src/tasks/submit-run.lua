-- submit-run: stores one chunk of a run, or adds tasks to a run that exists. Nothing is released before the last chunk.
-- ARGV[4] run  [5] 'new' | 'more' | 'append'  [6] 1 if the last chunk  [7] tasks in the whole run (append: in this chunk)  [8] digest
--   [9] owner  [10] traceparent  [11] root  [12] hops  [13] labels JSON  [14..] records:
--   'T', key, capability, class, max attempts, body, timeout ms, not before, deadline, assigned to, least connections, approval, n, n x 'rule:key'
--   'D', key, n, n x 'rule:key'   (further dependencies of a task of this run; 'append' is one chunk, all 'T')
-- -> {"accepted", {descriptions}, {ended}, more} | {"duplicate"} | {"conflict"} | {"busy"} | {"no_run"} | {"task_exists", key}
--  | {"unknown_dependency", task, dependency}
local run, mode, last = ARGV[4], ARGV[5], ARGV[6] == '1'
local run_key = P .. ':run:{' .. run .. '}'
local members = P .. ':members:{' .. run .. '}'
local status = redis.call('HGET', run_key, 's')
-- K() of this run's tasks, without taking an id apart that is only being put together.
local inside = '{' .. run .. '}'
local function key_of(kind, key)
  if key == '' then return P .. ':' .. kind .. ':' .. inside end
  return P .. ':' .. kind .. ':' .. inside .. ':' .. key
end
-- Added to: the state of each task that the new ones wait for.
local states = {}
-- Past its time the sweep has begun to forget it: what is left may be in pieces.
local ends = tonumber(redis.call('ZSCORE', P .. ':retention', run) or '')
local forgotten = ends and ends <= now

if mode == 'new' then
  if status then
    if redis.call('HGET', run_key, 'dg') ~= ARGV[8] then return { 'conflict' } end
    return { status == 'open' and 'busy' or 'duplicate' }
  end
  if redis.call('EXISTS', K('task', run)) == 1 then return { 'conflict' } end
elseif mode == 'more' then
  if status ~= 'open' or forgotten then return { 'busy' } end
else
  if status == 'open' then return { 'busy' } end
  if forgotten or (not status and redis.call('EXISTS', K('task', run)) == 0) then return { 'no_run' } end
  -- Everything is checked before the first write: a refused append leaves no trace.
  local fresh = {}
  local i = 14
  while ARGV[i] do
    local key = ARGV[i + 1]
    if fresh[key] or redis.call('EXISTS', key_of('task', key)) == 1 then return { 'task_exists', key } end
    fresh[key] = true
    i = i + 13 + tonumber(ARGV[i + 12])
  end
  i = 14
  while ARGV[i] do
    local n = tonumber(ARGV[i + 12])
    for j = i + 13, i + 12 + n do
      local dependency = string.sub(ARGV[j], 3)
      if not fresh[dependency] and not states[dependency] then
        local t = redis.call('HMGET', key_of('task', dependency), 's', 'dg')
        local stranger = t[2] and dependency ~= ''
        if not t[1] or stranger then return { 'unknown_dependency', ARGV[i + 1], dependency } end
        states[dependency] = t[1]
      end
    end
    i = i + 13 + n
  end
end

if mode == 'new' then
  redis.call('HSET', run_key, 's', 'open', 'n', ARGV[7], 'done', 0, 'bad', 0, 'dg', ARGV[8], 'o', ARGV[9], 't0', now, 'lb', ARGV[13])
  redis.call('ZADD', P .. ':runs', now, run)
  -- A submitter that dies half way leaves an open run: swept away after ten minutes.
  redis.call('ZADD', P .. ':retention', now + 600000, run)
elseif mode == 'append' then
  if not status then
    local single = redis.call('HMGET', K('task', run), 's', 'o', 't0', 'dg')
    local final = single[1] == 'completed' or single[1] == 'dead' or single[1] == 'cancelled'
    redis.call('HSET', run_key, 'n', 1, 'done', final and 1 or 0, 'bad', (final and single[1] ~= 'completed') and 1 or 0, 'o', single[2], 't0', single[3], 'dg', single[4] or '', 'lb', '{}')
    redis.call('HSET', K('task', run), 'g', 1)
    redis.call('RPUSH', members, '')
  end
  redis.call('HSET', run_key, 's', 'running')
  redis.call('HDEL', run_key, 't3')
  redis.call('HINCRBY', run_key, 'n', ARGV[7])
  redis.call('ZREM', P .. ':retention', run)
end

-- The store was emptied, a message of this run was taken over as a task of its own, and now the run is submitted again: the task
-- begins anew. What is still done for the old record is stale.
local function discard(id)
  local t = redis.call('HMGET', K('task', id), 's', 'p', 'h', 'rv')
  if not t[1] then return end
  redis.call('ZREM', ready_key(t[2]), id)
  for _, index in ipairs({ 'timers', 'deadlines', 'retention', 'runs' }) do redis.call('ZREM', P .. ':' .. index, id) end
  if t[3] then redis.call('SREM', P .. ':held:' .. t[3], id) end
  if t[4] then redis.call('SREM', P .. ':reserved:' .. t[4], id) end
  redis.call('UNLINK', K('task', id), K('outcome', id), K('open', id), K('watchers', id))
end

local children, roots, free, fallen = {}, {}, {}, {}
local function depend(key, from, n)
  if n == 0 then return end
  local open, waits = {}, false
  for j = from, from + n - 1 do
    local rule, dependency = string.sub(ARGV[j], 1, 1), string.sub(ARGV[j], 3)
    local state = states[dependency]
    if state == 'completed' or (rule == 'c' and (state == 'dead' or state == 'cancelled')) then
      -- Already over: nothing to wait for.
    elseif state == 'dead' or state == 'cancelled' then
      fallen[#fallen + 1] = { key, rule, state, dependency }
    else
      open[#open + 1] = dependency
      local list = children[dependency]
      if not list then
        list = {}
        children[dependency] = list
      end
      list[#list + 1] = rule .. ':' .. key
    end
  end
  if #open > 0 then
    redis.call('SADD', key_of('open', key), unpack(open))
    waits = true
  end
  local after = {}
  for j = from, from + n - 1 do after[#after + 1] = ARGV[j] end
  redis.call('RPUSH', key_of('after', key), unpack(after))
  return waits
end

local i = 14
while ARGV[i] do
  local key = ARGV[i + 1]
  local id = join(run, key)
  if ARGV[i] == 'T' then
    local f = { 's', 'blocked', 'c', ARGV[i + 2], 'p', ARGV[i + 3], 'm', ARGV[i + 4], 'o', ARGV[9], 'tp', ARGV[10], 't0', now, 'g', 1 }
    local function optional(field, value)
      if value ~= '' then
        f[#f + 1] = field
        f[#f + 1] = value
      end
    end
    optional('n', ARGV[i + 6])
    optional('nb', ARGV[i + 7])
    optional('d', ARGV[i + 8])
    optional('to', ARGV[i + 9])
    optional('lc', ARGV[i + 10])
    optional('rt', ARGV[11])
    if ARGV[12] ~= '0' then optional('hp', ARGV[12]) end
    if mode ~= 'append' then discard(id) end
    redis.call('HSET', key_of('task', key), unpack(f))
    redis.call('SET', key_of('body', key), ARGV[i + 5])
    redis.call('RPUSH', members, key)
    if ARGV[i + 8] ~= '' then redis.call('ZADD', P .. ':deadlines', ARGV[i + 8], id) end
    local n = tonumber(ARGV[i + 12])
    local waits = depend(key, i + 13, n)
    if ARGV[i + 11] ~= '' then
      redis.call('SADD', K('open', id), '#approval')
      waits = true
    end
    if mode == 'append' then
      if not waits then free[#free + 1] = id end
    elseif n == 0 and not waits then
      roots[#roots + 1] = 'c:' .. key
    end
    i = i + 13 + n
  else
    local n = tonumber(ARGV[i + 2])
    depend(key, i + 3, n)
    i = i + 3 + n
  end
end
for dependency, list in pairs(children) do redis.call('RPUSH', key_of('dependents', dependency), unpack(list)) end
-- The run's own list of dependents holds its roots: sealing the run releases them like any other dependents.
if #roots > 0 then redis.call('RPUSH', K('dependents', run), unpack(roots)) end

local out, ended, more = {}, {}, 0
if last then
  local spreading = {}
  if mode == 'append' then
    for _, f in ipairs(fallen) do
      local id = join(run, f[1])
      if redis.call('HGET', K('task', id), 's') == 'blocked' then
        local state, reason = 'cancelled', 'dependency_skipped'
        if f[2] == 'f' then
          state = f[3]
          reason = f[3] == 'dead' and 'dependency_failed' or 'dependency_cancelled'
        end
        local err = '{"code":"' .. string.upper(reason) .. '","message":"Task ' .. join(run, f[4]) .. ' it waited for is ' .. f[3] .. '."}'
        end_task(id, state, reason, nil, err, spreading)
        ended[#ended + 1] = { id, redis.call('HGET', K('task', id), 'c'), state, reason }
      end
    end
    for _, id in ipairs(free) do
      if redis.call('HGET', K('task', id), 's') == 'blocked' then unblock(id, out) end
    end
  else
    redis.call('HSET', run_key, 's', 'running')
    redis.call('ZREM', P .. ':retention', run)
    spreading[1] = run
  end
  more = spread(spreading, BUDGET, out, ended)
  flush_notices()
end
return { 'accepted', out, ended, more }
