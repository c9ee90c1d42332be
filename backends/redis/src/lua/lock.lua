-- Tokens with a lease, and the logs that a lock key is of.
--
-- A fence holds commits to every log under its lock key, and in a cluster those are on other nodes. So each lock key has a
-- list of its logs in a slot of its own, where a log is entered before its first commit under that key; and a fence is set
-- there first, and then in the slot of each log of the list.

-- Enters a log. Keys: those of the lock key's list and of its fence. Takes: mode, tag of the log. Gives 'FENCED' and the
-- token of the fence, or 'DONE'.
local function enter_log(keys, args)
  local token = call('GET', keys[2])
  if token then return { 'FENCED', token } end
  if not here(args[1], keys) then return moving() end
  call('SADD', keys[1], args[2])
  return { 'DONE' }
end

-- Notes in a log's head that it is entered. Takes: lock key.
local function entered(keys, args)
  call('HSET', keys[1], 'v', '1', 'k' .. args[1], '1')
  return { 'DONE' }
end

-- Sets the fence of a lock key. Keys: as for enter_log. Takes: mode, token, lease (ms). Gives 'FENCED' and the token of
-- another, or 'DONE' and the tags of the logs.
local function fence_lock(keys, args)
  local token = call('GET', keys[2])
  if token and token ~= args[2] then return { 'FENCED', token } end
  if not here(args[1], keys) then return moving() end
  call('SET', keys[2], args[2], 'PX', args[3])
  local out = call('SMEMBERS', keys[1])
  table.insert(out, 1, 'DONE')
  return out
end

-- Sets the fence in the slot of a log. Keys: the fence. Takes: token, lease (ms).
local function fence_log(keys, args)
  call('SET', keys[1], args[1], 'PX', args[2])
  return { 'DONE' }
end

-- Renews a token, or takes it away if the lease is 0. Keys: the token's. Takes: what it must be, lease (ms). Gives whether it
-- was that.
local function renew(keys, args)
  if call('GET', keys[1]) ~= args[1] then return 0 end
  if args[2] == '0' then
    call('DEL', keys[1])
  else
    call('PEXPIRE', keys[1], args[2])
  end
  return 1
end
