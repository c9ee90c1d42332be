-- Generations: a rebuild loads one beside that in use, and then it is put in use. A rebuild runs as long as its token, which
-- it renews.

-- Begins a rebuild. Takes: tag, mode, number of lock keys (1), lock key, token, lease (ms), 'shadow' or 'place'.
-- Gives 'BEGUN' and the generation, or 'RUNNING' and the token of another.
local function begin_rebuild(keys, args)
  local head, tag = keys[1], args[1]
  local refused, values, at = gate(tag, head, args, 3)
  if refused then return refused end
  local damaged, _, in_use, state = read_head(values)
  if damaged then return damaged end
  local token, lease, place = args[at], args[at + 1], args[at + 2] == 'place'
  local running = call('GET', tag .. ':b')
  local newest, left = unpack(call('HMGET', head, 'n', 'r'))
  -- Its own token: it was begun before, and the answer was lost.
  if running == token then return { 'BEGUN', left } end
  if running then return { 'RUNNING', running } end
  local generation = decimal(math.max(tonumber(newest or '0'), tonumber(in_use)) + 1)
  if not here(args[2], { head, tag .. ':b', tag .. ':x' }) then return moving() end
  if left then call('SADD', tag .. ':x', left) end
  call('HSET', head, 'v', '1', 'n', generation, 'r', generation)
  if place and state ~= 'b' then
    call('HSET', head, 's', 'b')
    call('SADD', tag .. ':x', in_use)
  end
  call('SET', tag .. ':b', token, 'PX', lease)
  return { 'BEGUN', generation }
end

-- Whether the rebuild with this token runs.
local function running(tag, token)
  return call('GET', tag .. ':b') == token
end

-- Takes: tag, generation, token; number of resources, for each: its name, number of ids, ids.. Gives 'OVER', or 'ROWS' and
-- the rows in that order.
local function loaded(_, args)
  local tag, generation = args[1], args[2]
  if not running(tag, args[3]) then return { 'OVER' } end
  local out, at = { 'ROWS' }, 5
  for _ = 1, tonumber(args[4]) do
    local count = tonumber(args[at + 1])
    local rows = hmget(tag .. ':r:' .. generation .. ':' .. args[at], args, at + 2, count)
    for i = 1, count do out[#out + 1] = rows[i] end
    at = at + 2 + count
  end
  return out
end

-- Sets records of one resource. Takes: tag, mode, generation, token, resource, number of records, ids.., rows.. No id twice.
local function load(_, args)
  local tag, generation, resource = args[1], args[3], args[5]
  if not running(tag, args[4]) then return { 'OVER' } end
  local count = tonumber(args[6])
  local of = ':' .. generation .. ':' .. resource
  local rows, live, unique, names = tag .. ':r' .. of, tag .. ':l' .. of, tag .. ':u' .. of, tag .. ':g:' .. generation
  local before = hmget(rows, args, 7, count)
  local owners, identified = {}, false
  for i = 1, count do
    if before[i] then
      for identity in each_identity(identities(before[i])) do
        local owner = owners[identity]
        if owner == nil then owner = call('HGET', unique, identity) end
        if owner == args[6 + i] then
          owners[identity] = false
          identified = true
        end
      end
    end
  end
  local set, born, died = {}, {}, {}
  for i = 1, count do
    local id, row = args[6 + i], args[6 + count + i]
    set[2 * i - 1], set[2 * i] = id, row
    if is_live(row) then
      if not is_live(before[i]) then
        born[#born + 1] = 0
        born[#born + 1] = id
      end
      for identity in each_identity(identities(row)) do
        owners[identity] = id
        identified = true
      end
    elseif is_live(before[i]) then
      died[#died + 1] = id
    end
  end
  local takes, frees = {}, {}
  if identified then
    for identity, owner in pairs(owners) do
      if owner then
        takes[#takes + 1] = identity
        takes[#takes + 1] = owner
      else
        frees[#frees + 1] = identity
      end
    end
  end
  if not here(args[2], { rows, live, unique, names }) then return moving() end
  call('SADD', names, resource)
  with_all('HSET', rows, set)
  with_all('ZADD', live, born)
  with_all('ZREM', live, died)
  with_all('HDEL', unique, frees)
  with_all('HSET', unique, takes)
  return { 'LOADED' }
end

-- Puts a generation in use. Takes: tag, mode, generation, token, lock key, token of the fence, position that it is at.
-- Gives 'DONE', 'OVER', or 'ABOVE' and the position of the log.
local function finish_rebuild(keys, args)
  local head, tag, generation, through = keys[1], args[1], args[3], args[7]
  local damaged, position, in_use = read_head(call('HMGET', head, 'v', 'p', 'g', 's'))
  if damaged then return damaged end
  -- The numbers of generations are never used again: it was done before, and the answer was lost.
  if in_use == generation then return { 'DONE' } end
  if not running(tag, args[4]) or call('GET', tag .. ':f:' .. args[5]) ~= args[6] then
    return { 'OVER' }
  end
  -- As text: a position may be larger than a double can tell.
  local at = decimal(position)
  if #through > #at or (#through == #at and through > at) then return { 'ABOVE', at } end
  if not here(args[2], { head, tag .. ':b', tag .. ':x' }) then return moving() end
  call('HSET', head, 'g', generation, 's', through == at and 'l' or 'w' .. through)
  call('HDEL', head, 'r')
  call('SADD', tag .. ':x', in_use)
  call('DEL', tag .. ':b')
  return { 'DONE' }
end

-- Ends a rebuild. Takes: tag, mode, generation, token. Gives 'DONE', or 'OVER' if it was over.
local function abandon_rebuild(keys, args)
  local tag = args[1]
  if not running(tag, args[4]) then return { 'OVER' } end
  if not here(args[2], { keys[1], tag .. ':b', tag .. ':x' }) then return moving() end
  call('HDEL', keys[1], 'r')
  call('SADD', tag .. ':x', args[3])
  call('DEL', tag .. ':b')
  return { 'DONE' }
end

-- Puts an empty generation in use. Takes: tag, mode, number of lock keys (1), lock key. Gives 'DONE' and the number of
-- records that were there, or 'RUNNING' and the token of a rebuild.
local function clear(keys, args)
  local head, tag = keys[1], args[1]
  local refused, values = gate(tag, head, args, 3)
  if refused then return refused end
  local damaged, position, in_use, state = read_head(values)
  if damaged then return damaged end
  local rebuild = call('GET', tag .. ':b')
  if rebuild then return { 'RUNNING', rebuild } end
  if state == 'b' then return { 'DONE', 0 } end
  local count = 0
  for _, resource in ipairs(call('SMEMBERS', tag .. ':g:' .. in_use)) do
    count = count + call('ZCARD', tag .. ':l:' .. in_use .. ':' .. resource)
  end
  local newest = call('HGET', head, 'n')
  local generation = decimal(math.max(tonumber(newest or '0'), tonumber(in_use)) + 1)
  if not here(args[2], { head, tag .. ':x' }) then return moving() end
  call('HSET', head, 'v', '1', 'g', generation, 'n', generation)
  if position > 0 then call('HSET', head, 's', 'w0') end
  call('SADD', tag .. ':x', in_use)
  return { 'DONE', count }
end

-- Removes a part of what is not in use. Takes: tag, mode. Gives whether there is more.
local function sweep(keys, args)
  local tag = args[1]
  local generation = call('SRANDMEMBER', tag .. ':x')
  if not generation then return 0 end
  local in_use, state, loading = unpack(call('HMGET', keys[1], 'g', 's', 'r'))
  if (generation == (in_use or '0') and state ~= 'b') or generation == loading then
    call('SREM', tag .. ':x', generation)
    return 1
  end
  local names = tag .. ':g:' .. generation
  local resources = call('SRANDMEMBER', names, 20)
  local gone = {}
  for _, resource in ipairs(resources) do
    local of = ':' .. generation .. ':' .. resource
    for _, kind in ipairs({ ':r', ':l', ':u' }) do gone[#gone + 1] = tag .. kind .. of end
  end
  gone[#gone + 1], gone[#gone + 2] = names, tag .. ':x'
  if not here(args[2], gone) then return moving() end
  gone[#gone], gone[#gone - 1] = nil, nil
  if #gone > 0 then call('UNLINK', unpack(gone)) end
  with_all('SREM', names, resources)
  if #resources < 20 then call('SREM', tag .. ':x', generation) end
  return 1
end
