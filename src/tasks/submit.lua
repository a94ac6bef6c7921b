-- submit: stores tasks that are their own runs, a batch of them; each is ready, scheduled or blocked (approval) at once.
-- ARGV[4..] per task 16: id, capability, class, max attempts, body, timeout ms, not before, deadline, assigned to, least connections,
--   approval, owner, traceparent, root, hops, digest ('' where unset)
-- -> per task {"accepted", description | 0} | {"duplicate"} | {"conflict"}
local answers = {}
local RUNS, DEADLINES, TIMERS = P .. ':runs', P .. ':deadlines', P .. ':timers'
local i = 4
while ARGV[i] do
  local id, digest = ARGV[i], ARGV[i + 15]
  local name = tag(id)
  local key = P .. ':task:' .. name
  -- Only a chosen id (it comes with a digest) can be that of a run of several. NX: the check and the write in one.
  local taken = digest ~= '' and redis.call('EXISTS', P .. ':run:' .. name) == 1
  if taken or not redis.call('SET', P .. ':body:' .. name, ARGV[i + 4], 'NX') then
    local known = redis.call('HMGET', key, 't0', 'dg')
    answers[#answers + 1] = { (known[1] and (known[2] or '') == digest) and 'duplicate' or 'conflict' }
  else
    local class, timeout, nb, deadline = ARGV[i + 2], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
    local f = { 's', 'ready', 'c', ARGV[i + 1], 'p', class, 'm', ARGV[i + 3], 'o', ARGV[i + 11], 'tp', ARGV[i + 12], 't0', now }
    local n = #f
    local function optional(field, value, unset)
      if value ~= unset then
        f[n + 1], f[n + 2] = field, value
        n = n + 2
      end
    end
    optional('n', timeout, '')
    optional('nb', nb, '')
    optional('d', deadline, '')
    optional('to', ARGV[i + 8], '')
    optional('lc', ARGV[i + 9], '')
    optional('rt', ARGV[i + 13], '')
    optional('hp', ARGV[i + 14], '0')
    optional('dg', digest, '')
    redis.call('ZADD', RUNS, now, id)
    if deadline ~= '' then redis.call('ZADD', DEADLINES, deadline, id) end
    local description = 0
    if ARGV[i + 10] ~= '' then
      f[2] = 'blocked'
      redis.call('SADD', P .. ':open:' .. name, '#approval')
    elseif nb ~= '' and tonumber(nb) > now then
      f[2] = 'scheduled'
      redis.call('ZADD', TIMERS, nb, id)
    else
      -- The caller knows what it sent: an id is description enough.
      optional('t1', now)
      redis.call('ZADD', ready_key(class), now + DISPATCH_MS, id)
      description = 1
    end
    redis.call('HSET', key, unpack(f))
    answers[#answers + 1] = { 'accepted', description }
  end
  i = i + 16
end
return answers
