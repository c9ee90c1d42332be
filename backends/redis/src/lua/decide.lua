-- Makes the commits of a batch, without a write to the server. The rules are those of `rekindle_core::store::decide`, and so
-- is their order.

local FULL, NEW, UPDATE, EVENT = 0, 1, 2, 3
-- How many values a commit of a form has behind its keys, and how many a change or a check.
local VALUES = { [NEW] = 2, [UPDATE] = 3, [EVENT] = 1 }
local STEP = { e = 4, w = 4, b = 6, r = 3, i = 4, g = 3, k = 5 }

-- What is expected of a record: 'a' absent, 'e' exists, 'x' anything, or 'r' and a revision.
local function holds(expected, row)
  local live = is_live(row)
  if expected == 'x' then return true end
  if expected == 'a' then return not live end
  if expected == 'e' then return live end
  return live and sub(row, 2, 9) == sub(expected, 2)
end

local function found(row)
  return is_live(row) and sub(row, 2, 9) or ''
end

local function resource_of(batch, record)
  return batch.resource_of[record] or batch.resources[1]
end

local function bucket_of(batch, id)
  return batch.bucket_of[id] or batch.buckets[1]
end

-- Who has an identity of a resource, by what a commit has changed, and those before it; false for nobody.
local function owner_of(batch, changed, resource, identity)
  local key = resource .. ':' .. identity
  local owner = changed[key]
  if owner == nil then owner = batch.owners[key] end
  if owner == nil then owner = call('HGET', batch.resources[resource].unique_key, identity) end
  return owner
end

-- The row of an event at a position, and the end of its record's chain behind it: the position of its last event, that of its
-- last landmark, the number of its events. `last` is the end before it.
local function chained(last, position, revision, event)
  if not last then
    return '\1' .. revision .. NONE12 .. event, pack('>I6c12', position, FIRST_OF_CHAIN)
  end
  local landmark, many = fields_of('>I6I6', last, 7)
  many = many + 1
  if many % STRIDE == 0 then landmark = position end
  return '\1' .. revision .. sub(last, 1, 12) .. event, pack('>I6I6I6', position, landmark, many)
end

local function push(list, first, second)
  local n = #list
  list[n + 1], list[n + 2] = first, second
end

-- Gives an event the next place in the log, and in the chain of its record.
local function append(batch, record, id, revision, event)
  local position = batch.position + 1
  batch.position = position
  local resource, bucket = resource_of(batch, record), bucket_of(batch, id)
  local row, chain = chained(batch.ends_of[record], position, revision, event)
  batch.events[position - batch.before], batch.ends_of[record], batch.known[id] = row, chain, position
  push(resource.ends, batch.args[record + resource.shift], chain)
  push(bucket.rows, batch.args[id + bucket.shift], decimal(position))
end

-- Gives a record its new row.
local function put(batch, record, row)
  local resource = resource_of(batch, record)
  local id, was, is = batch.args[record + resource.shift], is_live(batch.rows_of[record]), is_live(row)
  batch.rows_of[record] = row
  push(resource.rows, id, row)
  if is and not was then
    push(resource.born, '0', id)
    resource.died[id] = nil
  elseif was and not is then
    resource.died[id] = true
  end
end

-- What keeps the guards and the writes of keys before `following` from being as they say, as it is answered; nil if nothing
-- does.
local function against_all_keys(vault, args, at, following)
  while at < following do
    local answer = against_keys(vault, args, at)
    if answer then return answer end
    at = at + STEP[args[at]]
  end
end

-- Makes the writes of keys before `following`.
local function put_all_keys(vault, args, at, following)
  while at < following do
    if args[at] == 'k' then put_keys(vault, args, at) end
    at = at + STEP[args[at]]
  end
end

-- Makes a commit of any kind. Gives its answer, or nil and an error of the whole call.
local function make(batch, args, at, checks, changes, accepts)
  local first_check, behind_keys = at, at
  for _ = 1, checks do
    local kind = args[at]
    at = at + STEP[kind]
    if kind == 'g' or kind == 'k' then behind_keys = at end
  end
  local first_change = at

  -- Known event ids.
  local same, unknown
  for change = 1, changes do
    local kind = args[at]
    if kind ~= 'w' then
      local position = tonumber(batch.known[tonumber(args[at + 2])] or nil)
      if position then
        same = same or {}
        local row = batch.events[position - batch.before] or event_row(batch.tag, position)
        if not row then
          return nil, corrupt('an event id is known, and its event is not there: ' .. decimal(position))
        end
        if sub(row, 22) ~= args[at + 3] then return { 'U', change - 1, decimal(position) } end
        same[#same + 1] = pack('>I8', position) .. sub(row, 2, 9)
      else
        unknown = change
      end
    end
    at = at + STEP[kind]
  end
  if same then return unknown and { 'P', unknown - 1 } or table.concat(same) end

  -- The state of the log.
  local state = batch.state
  if accepts ~= '*' then
    if state == 'b' then return { 'B' } end
    if state == 'l' and accepts ~= '' then return { 'N' } end
    if state ~= 'l' and state ~= 'w' .. accepts then return { 'R', sub(state, 2), decimal(batch.position) } end
  end

  -- The checks. No commit names a subject twice, so what it writes of keys is set once it succeeds.
  local answer = against_all_keys(batch.vault, args, first_check, behind_keys)
  if answer then return answer end
  local rows_of = batch.rows_of
  at = first_check
  for check = 1, checks do
    local kind = args[at]
    if kind == 'r' then
      local record = tonumber(args[at + 1])
      if not holds(args[at + 2], rows_of[record]) then return { 'K', check - 1, found(rows_of[record]) } end
    elseif kind == 'i' then
      local resource, identity, expected = tonumber(args[at + 1]), args[at + 2], args[at + 3]
      local owner = owner_of(batch, {}, resource, identity) or ''
      if owner ~= expected then return { 'O', check - 1, owner } end
    end
    at = at + STEP[kind]
  end

  -- The writes, one after the other.
  local mine, touched, revisions = {}, {}, {}
  at = first_change
  for change = 1, changes do
    local kind = args[at]
    local step = STEP[kind]
    if kind ~= 'e' then
      local record = tonumber(args[at + 1])
      if not mine[record] then touched[#touched + 1] = record end
      local row = mine[record] or rows_of[record]
      if not holds(args[at + step - 2], row) then return { 'W', change - 1, found(row) } end
      local revision, new = row and next_revision(sub(row, 2, 9)) or FIRST, args[at + step - 1]
      if sub(new, 2, 9) ~= revision then new = '\1' .. revision .. sub(new, 10) end
      revisions[change], mine[record] = revision, new
    end
    at = at + step
  end

  -- The identities: what the commit gives up is free, then it takes what it takes.
  local settled, taken = {}, {}
  for _, record in ipairs(touched) do
    local old, new = identities(rows_of[record]), identities(mine[record])
    if old ~= new then
      local kept, has, resource = {}, {}, resource_of(batch, record).number
      for identity in each_identity(new) do kept[identity] = true end
      for identity in each_identity(old) do
        has[identity] = true
        if not kept[identity] then settled[resource .. ':' .. identity] = false end
      end
      for identity in each_identity(new) do
        if not has[identity] then
          taken[#taken + 1] = record
          taken[#taken + 1] = identity
        end
      end
    end
  end
  for i = 1, #taken, 2 do
    local record, identity = taken[i], taken[i + 1]
    local resource = resource_of(batch, record)
    local id, owner = batch.args[record + resource.shift], owner_of(batch, settled, resource.number, identity)
    if owner and owner ~= id then return { 'T', resource.name, identity, owner } end
    settled[resource.number .. ':' .. identity] = id
  end

  -- It succeeds: its events take their positions.
  local places = {}
  at = first_change
  for change = 1, changes do
    local kind = args[at]
    if kind ~= 'w' then
      local revision = revisions[change] or NONE8
      append(batch, tonumber(args[at + 1]), tonumber(args[at + 2]), revision, args[at + 3])
      places[#places + 1] = pack('>I8c8', batch.position, revision)
    end
    at = at + STEP[kind]
  end
  for _, record in ipairs(touched) do put(batch, record, mine[record]) end
  for key, owner in pairs(settled) do batch.owners[key] = owner end
  put_all_keys(batch.vault, args, first_check, behind_keys)
  if accepts ~= '' and accepts ~= '*' then batch.state = 'l' end
  return table.concat(places)
end

-- A commit that is not in full, in full: what `make` takes.
local function in_full(args, at, form, record, id, first_key)
  local full = { unpack(args, first_key, at - 1) }
  local event, row = args[at], args[at + 1]
  local change
  if form == EVENT then
    change = { 'e', record, id, event }
  elseif form == NEW then
    change = { 'b', record, id, sub(event, 22), 'a', row }
  else
    change = { 'b', record, id, event, 'r' .. sub(args[at + 2], 2, 9), row }
  end
  for _, value in ipairs(change) do full[#full + 1] = value end
  return full
end

-- Where among the arguments the guards and the writes of keys end that begin here.
local function behind_keys(args, at, keys)
  for _ = 1, keys do at = at + STEP[args[at]] end
  return at
end

-- Makes the commits, one after the other. Gives their answers, and an error of the whole call if there is one; no answers if
-- each is the position after the one before it.
--
-- A commit that is not in full, and that nothing stands in the way of, is made right here: it is what most are, and a batch
-- costs what is done for each of them. So there is no call and no table in it that it can do without.
local function make_all(batch, at)
  local args, vault, before, position, state = batch.args, batch.vault, batch.before, batch.position, batch.state
  local known, rows_of, ends_of, events = batch.known, batch.rows_of, batch.ends_of, batch.events
  local resource, bucket = batch.resources[1], batch.buckets[1]
  local several = #batch.resources > 1 or #batch.buckets > 1
  local rows, ends, born, shift, ids, shift_of_ids
  if resource and bucket then
    rows, ends, born, shift = resource.rows, resource.ends, resource.born, resource.shift
    ids, shift_of_ids = bucket.rows, bucket.shift
  end
  local answers, forms = nil, args[at]
  at = at + 1
  for number = 1, #forms / 8 do
    local form, high, middle, low, id_high, id_middle, id_low, keys = byte(forms, 8 * number - 7, 8 * number)
    local answer, failed
    if form == FULL then
      batch.position = position
      answer, failed = make(batch, args, at + 4, tonumber(args[at + 1]), tonumber(args[at + 2]), args[at + 3])
      position, state = batch.position, batch.state
      at = at + 1 + tonumber(args[at])
    else
      local record, id = 65536 * high + 256 * middle + low, 65536 * id_high + 256 * id_middle + id_low
      local first_key = at
      if keys > 0 then at = behind_keys(args, at, keys) end
      if several then
        resource, bucket = resource_of(batch, record), bucket_of(batch, id)
        rows, ends, born, shift = resource.rows, resource.ends, resource.born, resource.shift
        ids, shift_of_ids = bucket.rows, bucket.shift
      end
      local old, last, name = rows_of[record], ends_of[record], args[record + shift]
      local event, row, chain = args[at], nil, nil
      if state ~= 'l' or known[id] or keys > 0 and against_all_keys(vault, args, first_key, at) then
        -- Something stands in its way.
      elseif form == NEW and not old then
        row = args[at + 1]
        local n = #born
        born[n + 1], born[n + 2] = '0', name
        if last then
          event, chain = chained(last, position + 1, FIRST, sub(event, 22))
        else
          chain = pack('>I6c12', position + 1, FIRST_OF_CHAIN)
        end
      elseif form == UPDATE and old and sub(old, 1, 14) == args[at + 2] then
        row = args[at + 1]
        if not is_live(row) then resource.died[name] = true end
        event, chain = chained(last, position + 1, sub(row, 2, 9), event)
      elseif form == EVENT then
        event, chain = chained(last, position + 1, NONE8, event)
      end
      if chain then
        position = position + 1
        if row then
          local n = #rows
          rows[n + 1], rows[n + 2], rows_of[record] = name, row, row
        end
        local n = #ends
        ends[n + 1], ends[n + 2], ends_of[record] = name, chain, chain
        n = #ids
        ids[n + 1], ids[n + 2], known[id] = args[id + shift_of_ids], format('%d', position), position
        events[position - before] = event
        if keys > 0 then put_all_keys(vault, args, first_key, at) end
        answer = position
      else
        batch.position = position
        answer, failed = make(batch, in_full(args, at, form, record, id, first_key), 1, keys, 1, '')
        position = batch.position
      end
      at = at + VALUES[form]
    end
    if failed then return nil, failed end
    if answers then
      answers[number] = answer
    elseif answer ~= before + number then
      answers = {}
      for earlier = 1, number - 1 do answers[earlier] = before + earlier end
      answers[number] = answer
    end
  end
  batch.position = position
  return answers
end
