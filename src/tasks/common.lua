#!lua
-- common: the moves every task script is made of. Put before each of them by redis/script.ts.
-- ARGV[1] prefix  ARGV[2] ms to use as the time ('' = Redis TIME; set by tests only)  ARGV[3] ms finished runs are kept
-- Fields of a task hash: s state, c capability, p class, a attempts granted, f failed attempts, l lost attempts, m max attempts,
--   k token, h holder, o owner, tp traceparent, rt root, hp hops, t0 submitted, t1 ready, t2 started, t3 finished (ms),
--   n timeout ms, d deadline ms, nb not before ms, to assigned agent, lc least connections, rv reserved agent, r reason, dg digest,
--   pf progress, pn its note, er last error, g 1 if in a run of several tasks, w 1 if somebody watches.
-- Fields of a run hash: s open|running|completed|failed, n tasks, done, bad, dg digest, o owner, t0, t3, lb labels, w 1 if watched.
local P = ARGV[1]
local now_us
if ARGV[2] == '' then
  local t = redis.call('TIME')
  now_us = t[1] * 1000000 + t[2]
else
  now_us = tonumber(ARGV[2]) * 1000
end
local now = math.floor(now_us / 1000)
local RETENTION = tonumber(ARGV[3])
-- How long a process that was handed a ready task has to publish it before a relay does it again.
local DISPATCH_MS = 2000
-- Transitions of dependents in one call: some 5 ms of Redis, so that nobody waits 50 ms even on a busy machine.
local BUDGET = 250
-- Larger outputs are not pushed to watchers; they fetch them.
local NOTICE_BYTES = 16384

local function split(id)
  local dot = string.find(id, '.', 1, true)
  if dot then return string.sub(id, 1, dot - 1), string.sub(id, dot + 1) end
  return id, ''
end

local function join(run, key)
  if key == '' then return run end
  return run .. '.' .. key
end

-- The part of a task's keys that names it: '{run}' or '{run}:key'.
local function tag(id)
  local dot = string.find(id, '.', 1, true)
  if not dot then return '{' .. id .. '}' end
  return '{' .. string.sub(id, 1, dot - 1) .. '}:' .. string.sub(id, dot + 1)
end

local function K(kind, id) return P .. ':' .. kind .. ':' .. tag(id) end

local function ready_key(class) return P .. ':ready:p' .. class end

-- Notices are gathered per instance and published once, at the end of the script.
local notices = {}
local function notify(instance, json)
  if not instance or instance == '' then return end
  local list = notices[instance]
  if not list then
    notices[instance] = { json }
  else
    list[#list + 1] = json
  end
end

local function flush_notices()
  for instance, list in pairs(notices) do
    redis.call('PUBLISH', P .. ':instance:' .. instance, '[' .. table.concat(list, ',') .. ']')
  end
end

local function tell_watchers(id, owner, watched, json)
  notify(owner, json)
  if not watched then return end
  local key = K('watchers', id)
  local others = redis.call('SMEMBERS', key)
  if #others > 0 then
    for _, instance in ipairs(others) do
      if instance ~= owner then notify(instance, json) end
    end
    redis.call('DEL', key)
  end
end

-- All that a message of the task needs: the reply shape of ports.ReadyTask.
local function describe(id, c, p, a, tp, rt, hp, to, lc)
  return { id, c, tonumber(p), (tonumber(a) or 0) + 1, redis.call('GET', K('body', id)) or '', tp or '', rt or '', tonumber(hp) or 0, to or '', lc or '' }
end

-- Makes a task ready and appends its description to `out`.
local function make_ready(id, out)
  local key = K('task', id)
  local t = redis.call('HMGET', key, 'c', 'p', 'a', 'tp', 'rt', 'hp', 'to', 'lc')
  redis.call('HSET', key, 's', 'ready', 't1', now)
  redis.call('ZADD', ready_key(t[2]), now + DISPATCH_MS, id)
  out[#out + 1] = describe(id, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8])
end

-- A blocked task that waits for nothing more: ready, or scheduled until its time.
local function unblock(id, out)
  local key = K('task', id)
  local not_before = tonumber(redis.call('HGET', key, 'nb') or '')
  if not_before and not_before > now then
    redis.call('HSET', key, 's', 'scheduled')
    redis.call('ZADD', P .. ':timers', not_before, id)
  else
    make_ready(id, out)
  end
end

-- Past its deadline a task is not run any more: the next sweep ends it.
local function is_late(deadline) return deadline and tonumber(deadline) <= now end

-- A task taken over from a message has a digest of its own: it belongs to no run, even if its id names one.
local function is_alone(id, digest) return digest and string.find(id, '.', 1, true) end

-- A task of a run whose submission is not finished: not accepted yet, and not all its dependents are known.
local function is_open(id)
  local run = split(id)
  if redis.call('HGET', P .. ':run:{' .. run .. '}', 's') ~= 'open' then return false end
  return not is_alone(id, redis.call('HGET', K('task', id), 'dg'))
end

local function finish_run(run)
  local key = P .. ':run:{' .. run .. '}'
  local r = redis.call('HMGET', key, 'bad', 'o', 'w', 't0')
  local status = (tonumber(r[1]) or 0) > 0 and 'failed' or 'completed'
  redis.call('HSET', key, 's', status, 't3', now)
  redis.call('ZADD', P .. ':retention', now + RETENTION, run)
  tell_watchers(run, r[2], r[3], '{"kind":"run_ended","run":"' .. run .. '","status":"' .. status .. '","ms":' .. string.format('%.0f', now - (tonumber(r[4]) or now)) .. '}')
end

-- What ending a task needs to know of it; settle reads it together with its fence.
local END_FIELDS = { 's', 'p', 'h', 'o', 'a', 'rv', 'n', 'd', 'w', 'g' }

-- Ends a task for good. `output` and `err` are JSON texts or nil; `t` its END_FIELDS if they were read. Appends the id to `spreading`
-- if someone waits for it.
local function end_task(id, state, reason, output, err, spreading, t)
  local name = tag(id)
  local key = P .. ':task:' .. name
  t = t or redis.call('HMGET', key, unpack(END_FIELDS))
  local from = t[1]
  redis.call('HSET', key, 's', state, 't3', now, 'r', reason or '')
  if from == 'ready' then
    redis.call('ZREM', ready_key(t[2]), id)
  elseif from == 'scheduled' or from == 'retrying' then
    redis.call('ZREM', P .. ':timers', id)
  elseif from == 'running' then
    redis.call('SREM', P .. ':held:' .. t[3], id)
  elseif from == 'blocked' then
    redis.call('UNLINK', P .. ':open:' .. name)
  end
  if t[6] then redis.call('SREM', P .. ':reserved:' .. t[6], id) end
  if t[7] or t[8] then redis.call('ZREM', P .. ':deadlines', id) end

  local head = '"id":"' .. id .. '","status":"' .. state .. '","attempt":' .. (t[5] or 0)
  -- Instances are named by the name grammar: nothing in them needs escaping.
  if t[3] then head = head .. ',"agent":"' .. t[3] .. '"' end
  if reason and reason ~= '' then head = head .. ',"reason":"' .. reason .. '"' end
  if err then head = head .. ',"error":' .. err end
  -- The outcome is its own notice: a text of the size of the output is made once.
  local outcome = output and ('{' .. head .. ',"output":' .. output .. '}') or ('{' .. head .. '}')
  redis.call('SET', P .. ':outcome:' .. name, outcome)
  if output and #output > NOTICE_BYTES then outcome = '{' .. head .. ',"fetch":true}' end
  if t[4] ~= '' or t[9] then tell_watchers(id, t[4], t[9], outcome) end

  if t[10] then
    local run = split(id)
    local run_key = P .. ':run:{' .. run .. '}'
    local done = redis.call('HINCRBY', run_key, 'done', 1)
    if state ~= 'completed' then redis.call('HINCRBY', run_key, 'bad', 1) end
    if done == tonumber(redis.call('HGET', run_key, 'n')) then finish_run(run) end
    if redis.call('EXISTS', P .. ':dependents:' .. name) == 1 then spreading[#spreading + 1] = id end
  else
    redis.call('ZADD', P .. ':retention', now + RETENTION, id)
  end
end

-- What granting an attempt needs to know of its task; claim reads it together with its state.
local GRANT_FIELDS = { 's', 'h', 'd', 'p', 'a', 'k', 'f', 'm', 'n', 'rv', 't1' }

-- Grants the next attempt of a ready task to a holder. The token only grows, also after Redis lost its last second.
local function grant(id, holder, t)
  local key = K('task', id)
  t = t or redis.call('HMGET', key, unpack(GRANT_FIELDS))
  local token = math.max((tonumber(t[6]) or 0) + 1, now_us)
  local attempt = (tonumber(t[5]) or 0) + 1
  redis.call('HSET', key, 's', 'running', 'a', attempt, 'k', string.format('%.0f', token), 'h', holder, 't2', now)
  redis.call('ZREM', ready_key(t[4]), id)
  redis.call('SADD', P .. ':held:' .. holder, id)
  if t[10] then
    redis.call('SREM', P .. ':reserved:' .. t[10], id)
    redis.call('HDEL', key, 'rv')
  end
  if t[9] then
    local until_ms = now + tonumber(t[9])
    if t[3] and tonumber(t[3]) < until_ms then until_ms = tonumber(t[3]) end
    redis.call('ZADD', P .. ':deadlines', until_ms, id)
  end
  return { attempt, token, tonumber(t[7]) or 0, tonumber(t[8]) or 1, now - (tonumber(t[11]) or now) }
end

-- Tells dependents that tasks ended, at most `budget` of them; what is left is put into `releasing` for a later call.
-- spreading: ids of ended tasks. out: descriptions of tasks made ready. ended: {id, capability, state, reason} of tasks that fell.
-- Returns 1 if some are left, and what is left of the budget.
local function spread(spreading, budget, out, ended)
  local i = 1
  while spreading[i] and budget > 0 do
    local id = spreading[i]
    local run, parent = split(id)
    local list = P .. ':dependents:' .. tag(id)
    local asked = math.min(budget, 200)
    local children = redis.call('LPOP', list, asked) or {}
    local parent_state = redis.call('HGET', K('task', id), 's') or 'completed'
    for _, entry in ipairs(children) do
      local rule = string.sub(entry, 1, 1)
      local child = join(run, string.sub(entry, 3))
      local name = tag(child)
      local c = redis.call('HMGET', P .. ':task:' .. name, 's', 'c')
      if c[1] == 'blocked' then
        if parent_state == 'completed' or rule == 'c' then
          local open = P .. ':open:' .. name
          redis.call('SREM', open, parent)
          -- A set that lost its last member is gone: cheaper to ask than its size.
          if redis.call('EXISTS', open) == 0 then unblock(child, out) end
        else
          local state, reason = 'cancelled', 'dependency_skipped'
          if rule == 'f' then
            state = parent_state
            reason = parent_state == 'dead' and 'dependency_failed' or 'dependency_cancelled'
          end
          local err = '{"code":"' .. string.upper(reason) .. '","message":"Task ' .. id .. ' it waited for is ' .. parent_state .. '."}'
          end_task(child, state, reason, nil, err, spreading)
          ended[#ended + 1] = { child, c[2], state, reason }
        end
      end
    end
    budget = budget - #children
    -- Fewer than asked for: the list is told to its end.
    if #children < asked then
      redis.call('ZREM', P .. ':releasing', id)
      i = i + 1
    end
  end
  local more = 0
  while spreading[i] do
    if redis.call('EXISTS', K('dependents', spreading[i])) == 1 then
      redis.call('ZADD', P .. ':releasing', now, spreading[i])
      more = 1
    else
      redis.call('ZREM', P .. ':releasing', spreading[i])
    end
    i = i + 1
  end
  return more, budget
end
