#!lua
-- common: what every registry script begins with. Put before each of them by redis/script.ts.
-- ARGV[1] prefix  ARGV[2] ms to use as the time ('' = Redis TIME; set by tests only)
-- A lease in `instances` is the ms at which it ends. 1 and 2 mean condemned: the instance's tasks are being given away, so no beat
-- may renew it any more; 1 because the lease ran out, 2 because the process is gone or was replaced. Only `forget` ends that.
local P = ARGV[1]
local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local INSTANCES, AGENTS, OWNERS = P .. ':instances', P .. ':agents', P .. ':owners'
local EXPIRED, GONE = 1, 2
local BEAT_MS = 90000

local function ms(value) return string.format('%.0f', value) end

-- 1970-based ms as ISO 8601 in UTC; the calendar as in Hinnant's days-to-civil: eras of 400 years that begin in March.
local function iso(at)
  local days = math.floor(at / 86400000)
  local rest = at - days * 86400000
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(rest / 3600000),
    math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
end

local function lease_of(instance) return tonumber(redis.call('ZSCORE', INSTANCES, instance) or '') or 0 end

local function load_of(agent, instance)
  return redis.call('SCARD', P .. ':held:' .. instance) + redis.call('SCARD', P .. ':reserved:' .. agent)
end

-- The record as callers see it: what is stored, spliced behind what is only known at this moment. `stored` has no first '{'.
local function full_record(agent, instance, capacity, stored)
  local in_flight = load_of(agent, instance)
  local status = in_flight >= capacity and 'busy' or 'active'
  if lease_of(instance) <= now then status = 'offline' end
  return '{"status":"' .. status
    .. '","health_status":"' .. (redis.call('HGET', P .. ':health', agent) or 'unknown')
    .. '","draining":' .. (redis.call('SISMEMBER', P .. ':draining', agent) == 1 and 'true' or 'false')
    .. ',"in_flight":' .. in_flight
    .. ',"last_heartbeat":"' .. iso(tonumber(redis.call('GET', P .. ':beat:' .. agent) or now)) .. '",' .. stored
end

local function announce(json) redis.call('PUBLISH', P .. ':registry', json) end

local function announce_left(agent, instance, reason)
  announce('{"kind":"left","agent_id":"' .. agent .. '","instance":"' .. instance .. '","reason":"' .. reason .. '"}')
end
