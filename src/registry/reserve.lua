#!lua
-- reserve: takes a slot for each task at the free agent with the smallest load relative to its capacity; ties are broken by chance.
-- Load is counted, never kept: tasks the instance holds plus tasks reserved and not yet claimed, so it cannot drift.
-- Exact up to 32 agents that offer the capability, and whenever an idle one is met. Beyond, the best of 16 taken at random is chosen
-- (in the best fifth with 97 %), at 60 us instead of 900 us at 1,000 agents; if those are full, up to 1,000 are read.
-- ARGV[3] a random integer  [4..] per task 3: capability, task id, key of its hash
-- -> per task {"agent", id} | {"none", "no_agent" | "all_full"}
local EXACT, SAMPLE, MOST = 32, 16, 1000
-- Redis starts every script with the same random sequence.
math.randomseed(tonumber(ARGV[3]))
local DRAINING, HEALTH = P .. ':draining', P .. ':health'

local function fit(agent, instance)
  return lease_of(instance) > now and redis.call('SISMEMBER', DRAINING, agent) == 0 and redis.call('HGET', HEALTH, agent) ~= 'unhealthy'
end

local function slot_of(text)
  local space = string.find(text, ' ', 1, true)
  return tonumber(string.sub(text, 1, space - 1)), string.sub(text, space + 1)
end

-- The best of `offers` (agent, "<capacity> <instance>", ...), and whether any of them could ever take a task.
local function least(offers)
  local best, best_ratio, any
  local count = #offers / 2
  for i = 1, count do
    -- Shuffled as far as it is read: the first of equals wins.
    local j = math.random(i, count)
    local agent, slot = offers[2 * j - 1], offers[2 * j]
    offers[2 * j - 1], offers[2 * j] = offers[2 * i - 1], offers[2 * i]
    local capacity, instance = slot_of(slot)
    local load = load_of(agent, instance)
    local ratio = load / capacity
    -- Whether it is fit costs three reads: only asked of one that would be chosen.
    if load < capacity and (not best or ratio < best_ratio) then
      if fit(agent, instance) then
        best, best_ratio, any = agent, ratio, true
        if load == 0 then break end
      end
    elseif not any then
      any = fit(agent, instance)
    end
  end
  return best, any
end

-- A fleet that is nearly full: the free agents among `offers`, read once for all tasks of this call.
local function free_among(offers)
  local free, any = {}, false
  for i = 1, #offers, 2 do
    local capacity, instance = slot_of(offers[i + 1])
    local load = load_of(offers[i], instance)
    if load < capacity then
      if fit(offers[i], instance) then free[#free + 1] = { offers[i], load, capacity } end
    elseif not any then
      any = fit(offers[i], instance)
    end
  end
  return free, any or #free > 0
end

local function least_free(free)
  local best
  for i, agent in ipairs(free) do
    if agent[2] < agent[3] and (not best or agent[2] / agent[3] < free[best][2] / free[best][3]) then best = i end
  end
  if not best then return nil end
  free[best][2] = free[best][2] + 1
  return free[best][1]
end

local none, spare = {}, {}
local function choose(capability)
  local key = P .. ':offers:' .. capability
  local best, any
  if spare[capability] then
    best, any = least_free(spare[capability]), true
  else
    local count = redis.call('HLEN', key)
    -- HRANDFIELD gives distinct fields, all of them when there are not more.
    best, any = least(redis.call('HRANDFIELD', key, count <= EXACT and EXACT or SAMPLE, 'WITHVALUES'))
    if not best and count > EXACT then
      spare[capability], any = free_among(redis.call('HRANDFIELD', key, MOST, 'WITHVALUES'))
      best = least_free(spare[capability])
    end
  end
  if not best then none[capability] = any and 'all_full' or 'no_agent' end
  return best
end

local answers = {}
for i = 4, #ARGV, 3 do
  local capability, id, task = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = redis.call('HMGET', task, 's', 'rv')
  -- Reserved before, by a dispatcher whose answer was lost or whose message expired: that slot is given up first.
  if state[2] and redis.call('SREM', P .. ':reserved:' .. state[2], id) == 1 then none, spare = {}, {} end
  if state[1] and state[1] ~= 'ready' then
    -- Claimed or ended meanwhile: a slot taken for it would never be given back.
    answers[#answers + 1] = { 'none', 'all_full' }
  else
    local best = not none[capability] and choose(capability)
    if best and redis.call('SISMEMBER', P .. ':paused', capability) == 1 then
      best, none[capability] = nil, 'all_full'
    end
    if best then
      redis.call('SADD', P .. ':reserved:' .. best, id)
      if state[1] then redis.call('HSET', task, 'rv', best) end
      answers[#answers + 1] = { 'agent', best }
    else
      answers[#answers + 1] = { 'none', none[capability] }
    end
  end
end
return answers
