-- Makes a batch of commits to one log. The rules are those of `rekindle_core::store::decide`, and so is their order.
--
-- What it takes is written by `commit.rs`:
--   tag, mode, command to publish with, number of lock keys, lock keys..;
--   number of buckets of event ids, for each: its name, number of ids, ids..;
--   number of resources, for each: its name, what is asked of it, number of records, record ids..;
--   number of subjects, subjects..;
--   number of commits, their forms, and for each what its form says.
-- The forms are one value, with 8 bytes for each commit: the form (1), a record (3), an event id (3), and a number of guards and
-- writes of keys (1); all 0 for a commit in full. A commit of one change without identities, and without checks but those of
-- keys, is mostly of another form, which its guards and its writes of keys follow:
--   new: an event of a record that is not to be there, and its write. The event's row as it is if it is the record's first,
--     and the record's new row;
--   update: an event and a write that expects the revision before the one in the row. The event, and the record's new row;
--   event: an event alone. The event;
--   full: number of values that follow, number of checks, number of changes, the position that it accepts a rewound log at
--     ('' for none, '*' if it is of keys only: any state will do), checks.., changes..
-- A guard: 'g', subject, epoch. A write of keys: 'k', subject, expected version, the new row, the new ids (32 bytes each) in
-- one value. Both stand among the checks, before all others.
-- A check of a record: 'r', record, expected. A check of an identity: 'i', resource, identity, owner ('' for none).
-- A change: kind ('e' event, 'w' write, 'b' both), record; id and event; expected and the new row.
-- A new row has the revision that follows the expected one, the first one if none is expected by its number.
-- Records, resources, event ids and subjects are numbers: their places among all that were named before, from 1.
--
-- It answers with one value for each commit: the position of its only event, if the record got the revision that is in its
-- row; text (16 bytes for each event: position, revision); or why it was refused. If all are positions, and follow each other, it
-- answers with the first of them.

local NEW, UPDATE, EVENT = 1, 2, 3
local STEP = { e = 4, w = 4, b = 6, r = 3, i = 4, g = 3, k = 5 }

-- What is expected of a record: 'a' absent, 'e' exists, 'x' anything, or 'r' and a revision.
local function holds(expected, row)
  local live = is_live(row)
  if expected == 'x' then return true end
  if expected == 'a' then return not live end
  if expected == 'e' then return live end
  return live and string.sub(row, 2, 9) == string.sub(expected, 2)
end

local function found(row)
  return is_live(row) and string.sub(row, 2, 9) or ''
end

local function has_identities(row)
  return is_live(row) and struct.unpack('>I4', row, 11) > 0
end

-- Whether the revision in one row is the next after that in another one.
local function follows(old, new)
  local old_high, old_low = struct.unpack('>I4I4', old, 2)
  local high, low = struct.unpack('>I4I4', new, 2)
  if low > 0 then return high == old_high and low - 1 == old_low end
  return high - 1 == old_high and old_low == 4294967295
end

-- What a row expects that has the revision after the expected one.
local function expected_before(row)
  local high, low = struct.unpack('>I4I4', row, 2)
  if low == 0 then high, low = high - 1, 4294967296 end
  return 'r' .. struct.pack('>I4I4', high, low - 1)
end

local function commit(keys, args)
  -- Each would be two look-ups wherever it is used.
  local sub, byte, pack, fields_of, call = string.sub, string.byte, struct.pack, struct.unpack, redis.call
  local head, tag, mode, publish = keys[1], args[1], args[2], args[3]
  local refused, values, at = gate(tag, head, args, 4)
  if refused then return refused end
  local damaged, position, generation, state = read_head(values)
  if damaged then return damaged end
  local before, state_before = position, state

  -- The event ids that are known, with their positions. Those of one bucket have numbers that follow each other: `shift`
  -- leads from a number to its place among what the call takes. Most batches have one bucket.
  local known, buckets, bucket_of, numbered = {}, {}, {}, 0
  for number = 1, tonumber(args[at]) do
    local key, count = tag .. ':i:' .. args[at + 1], tonumber(args[at + 2])
    local positions = hmget(key, args, at + 3, count)
    local bucket = { key = key, shift = at + 2 - numbered, rows = {}, n = 0 }
    buckets[number] = bucket
    if number == 1 then
      known = positions
    else
      for i = 1, count do known[numbered + i], bucket_of[numbered + i] = positions[i], bucket end
    end
    numbered = numbered + count
    at = at + 2 + count
  end
  at = at + 1

  -- The records, numbered over all resources, as they are stored, with the ends of their chains; and those of them that the
  -- commits change.
  local resources, stored, ended, current, chains, records = {}, {}, {}, {}, {}, 0
  local of_generation = ':' .. generation .. ':'
  for number = 1, tonumber(args[at]) do
    local name, wanted, count = args[at + 1], args[at + 2], tonumber(args[at + 3])
    local rows_key, ends_key = tag .. ':r' .. of_generation .. name, tag .. ':c:' .. name
    local rows = wanted ~= 'c' and hmget(rows_key, args, at + 4, count) or {}
    local ends = wanted ~= 'r' and hmget(ends_key, args, at + 4, count) or {}
    if number == 1 then
      stored, ended = rows, ends
    else
      for i = 1, count do stored[records + i], ended[records + i] = rows[i], ends[i] end
    end
    resources[number] = {
      name = name, rows_key = rows_key, ends_key = ends_key, live_key = tag .. ':l' .. of_generation .. name,
      first = records + 1, last = records + count, shift = at + 3 - records,
      rows = {}, ends = {}, born = {}, died = {},
    }
    records = records + count
    at = at + 3 + count
  end
  at = at + 1

  local function resource_of(record)
    for number = 1, #resources do
      if record <= resources[number].last then return number end
    end
  end

  local function id_of(record)
    return args[record + resources[resource_of(record)].shift]
  end

  local vault
  vault, at = read_keys(tag, args, at)

  local events = {}
  local owners, owned = {}, false

  local function owner_of(mine, key, resource, identity)
    local owner = mine[key]
    if owner == nil then owner = owners[key] end
    if owner == nil then
      owner = call('HGET', tag .. ':u' .. of_generation .. resources[resource].name, identity)
    end
    return owner
  end

  -- Gives an event its place in the log and in the chain of its record. `first` is its row, if it is the record's first, or
  -- nil; `body` is nil if that is given.
  local function append(place, record, id, revision, body, first)
    local last = chains[record] or ended[record]
    -- The end of a record's chain: the position of its last event, that of its last landmark, the number of its events.
    if last then
      events[place - before] = '\1' .. revision .. sub(last, 1, 12) .. (body or sub(first, 22))
      local landmark, many = fields_of('>I6I6', last, 7)
      many = many + 1
      if many % STRIDE == 0 then landmark = place end
      chains[record] = pack('>I6I6I6', place, landmark, many)
    else
      events[place - before] = first or '\1' .. revision .. NONE12 .. body
      chains[record] = pack('>I6c12', place, FIRST_OF_CHAIN)
    end
    known[id] = place
    local bucket = bucket_of[id] or buckets[1]
    local rows, count = bucket.rows, bucket.n
    rows[count + 1], rows[count + 2], bucket.n = args[id + bucket.shift], decimal(place), count + 2
  end

  -- Makes the writes of keys among so many checks.
  local function write_keys(args, at, checks)
    for _ = 1, checks do
      if args[at] == 'k' then put_keys(vault, args, at) end
      at = at + STEP[args[at]]
    end
  end

  -- Makes one commit of any kind. Gives its answer, or nil and an error of the whole call.
  local function make(args, at, checks, changes, accepts)
    local first_check, answer = at, nil
    for _ = 1, checks do at = at + STEP[args[at]] end
    local first_change = at

    -- Known event ids.
    local same, unknown
    for change = 1, changes do
      local kind = args[at]
      if kind ~= 'w' then
        local position_of = tonumber(known[tonumber(args[at + 2])] or nil)
        if position_of then
          same = same or {}
          local row = events[position_of - before] or event_row(tag, position_of)
          if not row then
            return nil, corrupt('an event id is known, and its event is not there: ' .. decimal(position_of))
          end
          if sub(row, 22) ~= args[at + 3] then
            answer = { 'U', change - 1, decimal(position_of) }
            break
          end
          same[#same + 1] = pack('>I8', position_of) .. sub(row, 2, 9)
        else
          unknown = change
        end
      end
      at = at + STEP[kind]
    end
    if not answer and same then
      answer = unknown and { 'P', unknown - 1 } or table.concat(same)
    end

    -- The state of the log.
    if not answer and accepts ~= '*' then
      if state == 'b' then
        answer = { 'B' }
      elseif state == 'l' and accepts ~= '' then
        answer = { 'N' }
      elseif state ~= 'l' and state ~= 'w' .. accepts then
        answer = { 'R', sub(state, 2), decimal(position) }
      end
    end

    -- The checks. No commit names a subject twice, so what it writes of keys is set once it succeeds.
    local writes_keys
    if not answer then
      at = first_check
      for check = 1, checks do
        local kind = args[at]
        if kind == 'g' or kind == 'k' then
          answer = against_keys(vault, args, at)
          if answer then break end
          writes_keys = writes_keys or kind == 'k'
          at = at + STEP[kind]
        elseif kind == 'r' then
          local record = tonumber(args[at + 1])
          local row = current[record] or stored[record]
          if not holds(args[at + 2], row) then
            answer = { 'K', check - 1, found(row) }
            break
          end
          at = at + 3
        else
          local resource, identity, expected = tonumber(args[at + 1]), args[at + 2], args[at + 3]
          local owner = owner_of({}, resource .. ':' .. identity, resource, identity) or ''
          if owner ~= expected then
            answer = { 'O', check - 1, owner }
            break
          end
          at = at + 4
        end
      end
    end

    -- The writes, one after the other.
    local mine, touched, revisions
    if not answer then
      mine, touched, revisions = {}, {}, {}
      at = first_change
      for change = 1, changes do
        local kind = args[at]
        if kind ~= 'e' then
          local record = tonumber(args[at + 1])
          local step = STEP[kind]
          local row = mine[record]
          if row == nil then
            row = current[record] or stored[record]
            touched[#touched + 1] = record
          end
          if not holds(args[at + step - 2], row) then
            answer = { 'W', change - 1, found(row) }
            break
          end
          local revision, new = row and next_revision(sub(row, 2, 9)) or FIRST, args[at + step - 1]
          if sub(new, 2, 9) ~= revision then new = '\1' .. revision .. sub(new, 10) end
          revisions[change], mine[record] = revision, new
        end
        at = at + STEP[kind]
      end
    end

    -- The identities: what the commit gives up is free, then it takes what it takes.
    local settled
    if not answer then
      local taken
      for i = 1, #touched do
        local record = touched[i]
        local old, new = identities(current[record] or stored[record]), identities(mine[record])
        if old ~= new then
          settled, taken = settled or {}, taken or {}
          local kept, has = {}, {}
          for identity in each_identity(new) do kept[identity] = true end
          for identity in each_identity(old) do
            has[identity] = true
            if not kept[identity] then settled[resource_of(record) .. ':' .. identity] = false end
          end
          for identity in each_identity(new) do
            if not has[identity] then
              taken[#taken + 1] = record
              taken[#taken + 1] = identity
            end
          end
        end
      end
      if taken then
        for i = 1, #taken, 2 do
          local record, identity = taken[i], taken[i + 1]
          local resource, id = resource_of(record), id_of(record)
          local key = resource .. ':' .. identity
          local owner = owner_of(settled, key, resource, identity)
          if owner and owner ~= id then
            answer = { 'T', resources[resource].name, identity, owner }
            break
          end
          settled[key] = id
        end
      end
    end

    -- The commit succeeds: its events take their positions.
    if not answer then
      local out
      at = first_change
      for change = 1, changes do
        local kind = args[at]
        if kind ~= 'w' then
          local record, id = tonumber(args[at + 1]), tonumber(args[at + 2])
          position = position + 1
          local revision = revisions[change] or NONE8
          append(position, record, id, revision, args[at + 3])
          local place = pack('>I8c8', position, revision)
          if not out then
            out = place
          elseif type(out) == 'string' then
            out = { out, place }
          else
            out[#out + 1] = place
          end
        end
        at = at + STEP[kind]
      end
      for i = 1, #touched do
        current[touched[i]] = mine[touched[i]]
      end
      if settled then
        for key, owner in pairs(settled) do owners[key] = owner end
        owned = true
      end
      if writes_keys then write_keys(args, first_check, checks) end
      if accepts ~= '' and accepts ~= '*' then state = 'l' end
      answer = type(out) == 'table' and table.concat(out) or out or ''
    end
    return answer
  end

  -- Makes a commit that is not in full and that nothing stands in the way of; else gives nil. It is what most commits are,
  -- and takes no tables and few new texts.
  local function make_simple(form, record, id, at, first_key, keys)
    if state ~= 'l' or known[id] then return nil end
    local at_key = first_key
    for _ = 1, keys do
      if against_keys(vault, args, at_key) then return nil end
      at_key = at_key + STEP[args[at_key]]
    end
    if form == EVENT then
      position = position + 1
      append(position, record, id, NONE8, args[at])
      if keys > 0 then write_keys(args, first_key, keys) end
      return position
    end
    local old, new = current[record] or stored[record], args[at + 1]
    if form == NEW then
      if old then return nil end
      position = position + 1
      append(position, record, id, FIRST, nil, args[at])
    else
      if not is_live(old) or has_identities(old) or not follows(old, new) then return nil end
      position = position + 1
      append(position, record, id, sub(new, 2, 9), args[at])
    end
    current[record] = new
    if keys > 0 then write_keys(args, first_key, keys) end
    return position
  end

  -- The same commit, in full.
  local function in_full(form, record, id, at, first_key, following)
    local full = { unpack(args, first_key, following - 1) }
    local event, row, change = args[at], args[at + 1], nil
    if form == EVENT then
      change = { 'e', record, id, event }
    elseif form == NEW then
      change = { 'b', record, id, sub(event, 22), 'a', row }
    else
      change = { 'b', record, id, event, expected_before(row), row }
    end
    for i = 1, #change do full[#full + 1] = change[i] end
    return full
  end

  -- Nil as long as each answer is the position after the one before.
  local answers
  local count, forms = tonumber(args[at]), args[at + 1]
  at = at + 2
  for number = 1, count do
    local form, record, id, keys = fields_of('>BI3I3B', forms, 8 * number - 7)
    local answer, failed
    if form == 0 then
      answer, failed = make(args, at + 4, tonumber(args[at + 1]), tonumber(args[at + 2]), args[at + 3])
      at = at + 1 + tonumber(args[at])
    else
      local first_key = at + (form == EVENT and 1 or 2)
      local following = first_key
      for _ = 1, keys do following = following + STEP[args[following]] end
      answer = make_simple(form, record, id, at, first_key, keys)
      if not answer then answer, failed = make(in_full(form, record, id, at, first_key, following), 1, keys, 1, '') end
      at = following
    end
    if failed then return failed end
    if answers then
      answers[number] = answer
    elseif answer ~= before + number then
      answers = {}
      for earlier = 1, number - 1 do answers[earlier] = before + earlier end
      answers[number] = answer
    end
  end

  if #events == 0 and #vault.rows == 0 and not next(current) then return answers end

  -- What is to be written, all of it, before the first write.
  local segments, index = {}, before
  while index < position do
    local key, within = tag .. ':e:' .. decimal(math.floor(index / SEGMENT)), index % SEGMENT
    if call('LLEN', key) ~= within then return corrupt('the list ' .. key .. ' is not as long as the log says') end
    local following = math.min(index - within + SEGMENT, position)
    segments[#segments + 1] = { key = key, first = index - before + 1, last = following - before }
    index = following
  end
  local new_names = {}
  for number = 1, #resources do
    local resource = resources[number]
    local rows, ends, born, died = resource.rows, resource.ends, resource.born, resource.died
    local shift, of_rows, of_ends, of_born = resource.shift, 0, 0, 0
    for record = resource.first, resource.last do
      local id, row, chain = args[record + shift], current[record], chains[record]
      if row then
        rows[of_rows + 1], rows[of_rows + 2], of_rows = id, row, of_rows + 2
        local was, is = stored[record] and is_live(stored[record]), byte(row, 10) == 1
        if is and not was then
          born[of_born + 1], born[of_born + 2], of_born = '0', id, of_born + 2
        elseif was and not is then
          died[#died + 1] = id
        end
      end
      if chain then ends[of_ends + 1], ends[of_ends + 2], of_ends = id, chain, of_ends + 2 end
    end
    -- A resource with records that are there was named when the first of them was written.
    if of_rows > 0 and call('ZCARD', resource.live_key) == 0 then new_names[#new_names + 1] = resource.name end
  end
  local takes, frees = {}, {}
  if owned then
    for key, owner in pairs(owners) do
      local resource, identity = string.match(key, '^(%d+):(.*)$')
      resource = tonumber(resource)
      local list = owner and takes or frees
      local of_resource = list[resource]
      if not of_resource then
        of_resource = {}
        list[resource] = of_resource
      end
      of_resource[#of_resource + 1] = identity
      if owner then of_resource[#of_resource + 1] = owner end
    end
  end
  local names = tag .. ':g:' .. generation
  if mode == 'c' then
    local touching = { head }
    local function touch(key) touching[#touching + 1] = key end
    for i = 1, #segments do touch(segments[i].key) end
    for number = 1, #buckets do
      if buckets[number].n > 0 then touch(buckets[number].key) end
    end
    for number = 1, #resources do
      local resource = resources[number]
      if #resource.ends > 0 then touch(resource.ends_key) end
      if #resource.rows > 0 then
        touch(resource.rows_key)
        touch(resource.live_key)
        touch(tag .. ':u' .. of_generation .. resource.name)
      end
    end
    if #vault.rows > 0 then
      for _, kind in ipairs({ ':k', ':ki', ':kl' }) do touch(tag .. kind) end
    end
    if #new_names > 0 then touch(names) end
    if not here(mode, touching) then return moving() end
  end

  -- From here on nothing fails.
  for i = 1, #segments do
    -- A list holds no more than fit on Lua's stack.
    call('RPUSH', segments[i].key, unpack(events, segments[i].first, segments[i].last))
  end
  for number = 1, #buckets do with_all('HSET', buckets[number].key, buckets[number].rows) end
  with_all('SADD', names, new_names)
  for number = 1, #resources do
    local resource = resources[number]
    with_all('HSET', resource.ends_key, resource.ends)
    with_all('HSET', resource.rows_key, resource.rows)
    with_all('ZADD', resource.live_key, resource.born)
    with_all('ZREM', resource.live_key, resource.died)
    if frees[number] then with_all('HDEL', tag .. ':u' .. of_generation .. resource.name, frees[number]) end
    if takes[number] then with_all('HSET', tag .. ':u' .. of_generation .. resource.name, takes[number]) end
  end
  if #vault.rows > 0 then
    with_all('HSET', tag .. ':k', vault.rows)
    with_all('HSET', tag .. ':ki', vault.ids)
    with_all('ZADD', tag .. ':kl', vault.born)
  end
  if state ~= state_before then call('HSET', head, 's', state) end
  if position > before then
    local place = decimal(position)
    call('HSET', head, 'p', place)
    if publish ~= '' then call(publish, tag .. ':n', place) end
  end
  return answers or before + 1
end
