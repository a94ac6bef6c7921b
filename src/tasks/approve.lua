-- approve: lifts the approval a task waits for.
-- ARGV[4] id
-- -> {"approved" | "not_waiting" | "unknown", {descriptions}}
local id = ARGV[4]
local state = redis.call('HGET', K('task', id), 's')
if not state or is_open(id) then return { 'unknown', {} } end
local open = K('open', id)
if state ~= 'blocked' or redis.call('SREM', open, '#approval') == 0 then return { 'not_waiting', {} } end
local out = {}
if redis.call('SCARD', open) == 0 then unblock(id, out) end
return { 'approved', out }
