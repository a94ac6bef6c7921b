-- submit: stores tasks that are their own runs, a batch of them; each is ready, scheduled or blocked (approval) at once.
-- ARGV[4..] per task 16: id, capability, class, max attempts, body, timeout ms, not before, deadline, assigned to, least connections,
--   approval, owner, traceparent, root, hops, digest ('' where unset)
-- -> per task {"accepted", description | 0} | {"duplicate"} | {"conflict"}
local answers = {}
local i = 4
while ARGV[i] do
  local id, digest = ARGV[i], ARGV[i + 15]
  local key = K('task', id)
  local known = redis.call('HGET', key, 't0')
  if known or redis.call('EXISTS', K('run', id)) == 1 then
    local before = known and redis.call('HGET', key, 'dg') or nil
    answers[#answers + 1] = { (known and before == digest) and 'duplicate' or 'conflict' }
  else
    local f = { 's', 'blocked', 'c', ARGV[i + 1], 'p', ARGV[i + 2], 'm', ARGV[i + 3], 'o', ARGV[i + 11], 'tp', ARGV[i + 12], 'hp', ARGV[i + 14], 't0', now, 'dg', digest }
    local function optional(field, value)
      if value ~= '' then
        f[#f + 1] = field
        f[#f + 1] = value
      end
    end
    optional('n', ARGV[i + 5])
    optional('nb', ARGV[i + 6])
    optional('d', ARGV[i + 7])
    optional('to', ARGV[i + 8])
    optional('lc', ARGV[i + 9])
    optional('rt', ARGV[i + 13])
    local not_before = tonumber(ARGV[i + 6])
    redis.call('SET', K('body', id), ARGV[i + 4])
    redis.call('ZADD', P .. ':runs', now, id)
    if ARGV[i + 7] ~= '' then redis.call('ZADD', P .. ':deadlines', ARGV[i + 7], id) end
    local description = 0
    if ARGV[i + 10] ~= '' then
      redis.call('SADD', K('open', id), '#approval')
    elseif not_before and not_before > now then
      f[2] = 'scheduled'
      redis.call('ZADD', P .. ':timers', not_before, id)
    else
      -- The caller knows what it sent: an id is description enough.
      f[2] = 'ready'
      optional('t1', now)
      redis.call('ZADD', ready_key(ARGV[i + 2]), now + DISPATCH_MS, id)
      description = 1
    end
    redis.call('HSET', key, unpack(f))
    answers[#answers + 1] = { 'accepted', description }
  end
  i = i + 16
end
return answers
