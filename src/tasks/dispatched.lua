-- dispatched: the broker confirmed these messages; relays look at them again only later. Tasks claimed meanwhile are left alone (XX).
-- ARGV[4] ms until the next look  [5..] per task 2: class, id
-- -> 0
local at = now + tonumber(ARGV[4]) + 0.5
local lists = {}
for i = 5, #ARGV, 2 do
  local list = lists[ARGV[i]]
  if not list then
    list = {}
    lists[ARGV[i]] = list
  end
  list[#list + 1] = at
  list[#list + 1] = ARGV[i + 1]
end
for class, list in pairs(lists) do redis.call('ZADD', ready_key(class), 'XX', unpack(list)) end
return 0
