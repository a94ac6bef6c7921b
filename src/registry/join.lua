#!lua
-- join: registers an agent, or updates it. A newer instance replaces the older, which is condemned: its tasks are rescued.
-- A new instance, or one that was given up, starts undrained and with unknown health.
-- ARGV[3] agent id  [4] instance  [5] kind full|bus  [6] lease ms  [7] capacity  [8] card JSON without its first '{'
-- ARGV[9..] names of the capabilities it offers
-- -> record JSON
-- The record is spliced, never re-encoded: cjson would turn empty lists into objects and cut long numbers.
local agent, instance, kind, capacity, card = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[7]), ARGV[8]
local old_json = redis.call('HGET', AGENTS, agent)
local old = old_json and cjson.decode(old_json)

local fresh = not old or old.instance ~= instance or lease_of(instance) <= now
if old and old.instance ~= instance and redis.call('HEXISTS', OWNERS, old.instance) == 1 then
  redis.call('ZADD', INSTANCES, GONE, old.instance)
  announce_left(agent, old.instance, 'replaced')
end

local offered = {}
for i = 9, #ARGV do
  offered[ARGV[i]] = true
  redis.call('HSET', P .. ':offers:' .. ARGV[i], agent, ms(capacity) .. ' ' .. instance)
end
for _, capability in ipairs(old and old.capabilities or {}) do
  if not offered[capability.name] then redis.call('HDEL', P .. ':offers:' .. capability.name, agent) end
end

local same = not fresh and string.sub(old_json, -#card) == card
local created, updated = old and old.created_at or iso(now), same and old.updated_at or iso(now)
local record = '"instance":"' .. instance .. '","kind":"' .. kind .. '","created_at":"' .. created .. '","updated_at":"' .. updated
  .. '",' .. card
redis.call('HSET', AGENTS, agent, '{' .. record)
redis.call('HSET', OWNERS, instance, agent)
redis.call('ZADD', INSTANCES, now + tonumber(ARGV[6]), instance)
redis.call('SET', P .. ':beat:' .. agent, ms(now), 'PX', BEAT_MS)
if fresh then
  redis.call('SREM', P .. ':draining', agent)
  redis.call('HDEL', P .. ':health', agent)
end

local full = full_record(agent, instance, capacity, record)
if not same then announce('{"kind":"' .. (fresh and 'joined' or 'changed') .. '","agent":' .. full .. '}') end
return full
