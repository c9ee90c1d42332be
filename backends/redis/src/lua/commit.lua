-- Makes a batch of commits to one log.
--
-- It answers with one value for each commit: the position of its only event, if the record got the revision that is in its
-- row; text (16 bytes for each event: position, revision); or why it was refused. If all are positions, and follow each other,
-- it answers with the first of them.

-- The segments of the log that take the batch's events, each with its part of them; nil and an error if the log is damaged.
local function segments_of(batch)
  local before, position = batch.before, batch.position
  local segments, index = {}, before
  while index < position do
    local key, within = batch.tag .. ':e:' .. decimal(floor(index / SEGMENT)), index % SEGMENT
    if call('LLEN', key) ~= within then
      return nil, corrupt('the list ' .. key .. ' is not as long as the log says')
    end
    local following = min(index - within + SEGMENT, position)
    segments[#segments + 1] = { key = key, first = index - before + 1, last = following - before }
    index = following
  end
  return segments
end

-- The identities that get another owner, and those that get none, by resource.
local function owners_of(batch)
  local takes, frees = {}, {}
  for key, owner in pairs(batch.owners) do
    local number, identity = string.match(key, '^(%d+):(.*)$')
    number = tonumber(number)
    local lists = owner and takes or frees
    local list = lists[number] or {}
    lists[number] = list
    list[#list + 1] = identity
    if owner then list[#list + 1] = owner end
  end
  return takes, frees
end

-- The keys that are written to.
local function touched(batch, segments, names, new_names)
  local keys = { batch.head }
  for _, segment in ipairs(segments) do keys[#keys + 1] = segment.key end
  for _, bucket in ipairs(batch.buckets) do
    if #bucket.rows > 0 then keys[#keys + 1] = bucket.key end
  end
  for _, resource in ipairs(batch.resources) do
    if #resource.ends > 0 then keys[#keys + 1] = resource.ends_key end
    if #resource.rows > 0 then
      for _, key in ipairs({ resource.rows_key, resource.live_key, resource.unique_key }) do keys[#keys + 1] = key end
    end
  end
  if #batch.vault.rows > 0 then
    for _, kind in ipairs({ ':k', ':ki', ':kl' }) do keys[#keys + 1] = batch.tag .. kind end
  end
  if #new_names > 0 then keys[#keys + 1] = names end
  return keys
end

-- Whether no commit of a batch changes anything.
local function changes_nothing(batch)
  if #batch.events > 0 or #batch.vault.rows > 0 then return false end
  for _, resource in ipairs(batch.resources) do
    if #resource.rows > 0 then return false end
  end
  return true
end

local function commit(keys, args)
  local tag, mode, publish = args[1], args[2], args[3]
  local batch, at = read_batch(keys[1], args)
  if not batch then return at end
  local answers, failed = make_all(batch, at)
  if failed then return failed end
  if changes_nothing(batch) then return answers end

  -- What is to be written, all of it, before the first write.
  local segments, damaged = segments_of(batch)
  if damaged then return damaged end
  local resources, vault = batch.resources, batch.vault
  local names, new_names = tag .. ':g:' .. batch.generation, {}
  for number = 1, #resources do
    local resource = resources[number]
    -- A resource with records that are there was named when the first of them was written.
    if #resource.rows > 0 and call('ZCARD', resource.live_key) == 0 then new_names[#new_names + 1] = resource.name end
  end
  local takes, frees = owners_of(batch)
  if mode == 'c' and not here(mode, touched(batch, segments, names, new_names)) then return moving() end

  -- From here on nothing fails.
  for i = 1, #segments do
    local segment = segments[i]
    -- A list holds no more than fit on Lua's stack.
    call('RPUSH', segment.key, unpack(batch.events, segment.first, segment.last))
  end
  for number = 1, #batch.buckets do with_all('HSET', batch.buckets[number].key, batch.buckets[number].rows) end
  if #new_names > 0 then with_all('SADD', names, new_names) end
  for number = 1, #resources do
    local resource = resources[number]
    with_all('HSET', resource.ends_key, resource.ends)
    with_all('HSET', resource.rows_key, resource.rows)
    with_all('ZADD', resource.live_key, resource.born)
    if next(resource.died) then
      local died = {}
      for id in pairs(resource.died) do died[#died + 1] = id end
      with_all('ZREM', resource.live_key, died)
    end
    if frees[number] then with_all('HDEL', resource.unique_key, frees[number]) end
    if takes[number] then with_all('HSET', resource.unique_key, takes[number]) end
  end
  if #vault.rows > 0 then
    with_all('HSET', tag .. ':k', vault.rows)
    with_all('HSET', tag .. ':ki', vault.ids)
    with_all('ZADD', tag .. ':kl', vault.born)
  end
  if batch.state ~= batch.state_before then call('HSET', batch.head, 's', batch.state) end
  if batch.position > batch.before then
    local position = decimal(batch.position)
    call('HSET', batch.head, 'p', position)
    if publish ~= '' then call(publish, tag .. ':n', position) end
  end
  return answers or batch.before + 1
end
