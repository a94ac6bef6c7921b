-- progress: notes how far an attempt is; fenced.
-- ARGV[4] id  [5] token  [6] fraction  [7] note
-- -> 1 | 0 (stale)
local key = K('task', ARGV[4])
local t = redis.call('HMGET', key, 's', 'k')
if t[1] ~= 'running' or t[2] ~= ARGV[5] then return 0 end
redis.call('HSET', key, 'pf', ARGV[6], 'pn', ARGV[7])
return 1
