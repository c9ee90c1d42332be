-- Reading records, and the events of one record. Each call sees one state of the log.
--
-- An answer begins with the state of the log: if it is 'b' there is nothing more.

-- Takes: tag; number of resources, for each: its name, number of ids, ids.. Gives the rows, in that order.
local function get(keys, args)
  local tag = args[1]
  local damaged, _, generation, state = read_head(call('HMGET', keys[1], 'v', 'p', 'g', 's'))
  if damaged then return damaged end
  local out = { state }
  if state == 'b' then return out end
  local at = 3
  for _ = 1, tonumber(args[2]) do
    local count = tonumber(args[at + 1])
    local rows = hmget(tag .. ':r:' .. generation .. ':' .. args[at], args, at + 2, count)
    for i = 1, count do out[#out + 1] = rows[i] end
    at = at + 2 + count
  end
  return out
end

-- Takes: tag, resource, order ('f' forward, 'b' backward), id to continue behind ('' for none), limit. Gives ids and rows.
local function list(keys, args)
  local tag, resource, order, cursor = args[1], args[2], args[3], args[4]
  local damaged, _, generation, state = read_head(call('HMGET', keys[1], 'v', 'p', 'g', 's'))
  if damaged then return damaged end
  local out = { state }
  if state == 'b' then return out end
  local live = tag .. ':l:' .. generation .. ':' .. resource
  local ids
  if order == 'f' then
    ids = call('ZRANGEBYLEX', live, cursor == '' and '-' or '(' .. cursor, '+', 'LIMIT', 0, args[5])
  else
    ids = call('ZREVRANGEBYLEX', live, cursor == '' and '+' or '(' .. cursor, '-', 'LIMIT', 0, args[5])
  end
  local rows = hmget(tag .. ':r:' .. generation .. ':' .. resource, ids, 1, #ids)
  for i = 1, #ids do
    out[#out + 1] = ids[i]
    out[#out + 1] = rows[i]
  end
  return out
end

-- Takes: tag, resource, identity. Gives the owner's id and row, or nothing more.
local function find(keys, args)
  local tag, resource = args[1], args[2]
  local damaged, _, generation, state = read_head(call('HMGET', keys[1], 'v', 'p', 'g', 's'))
  if damaged then return damaged end
  if state == 'b' then return { state } end
  local owner = call('HGET', tag .. ':u:' .. generation .. ':' .. resource, args[3])
  if not owner then return { state } end
  return { state, owner, call('HGET', tag .. ':r:' .. generation .. ':' .. resource, owner) }
end

-- Takes: tag, event id's bucket, event id. Gives its position and row, or nothing.
local function event(_, args)
  local position = call('HGET', args[1] .. ':i:' .. args[2], args[3])
  if not position then return {} end
  return { position, event_row(args[1], tonumber(position)) }
end

-- Takes: tag, resource, record id, first position, last position, order, limit. Gives positions and rows.
--
-- Each event of a record points to the one before it, and to the landmark before it; so the way to any of them is short.
local function history(_, args)
  local tag, first, last, limit = args[1], tonumber(args[4]), tonumber(args[5]), tonumber(args[7])
  local chain = call('HGET', tag .. ':c:' .. args[2], args[3])
  if not chain then return {} end
  local newest, landmark = fields_of('>I6I6', chain)
  local missing
  local function row_at(position)
    local row = event_row(tag, position)
    if not row then missing = position end
    return row
  end
  local out = {}

  if args[6] == 'b' then
    local at = newest
    while at > last do
      if landmark >= last and landmark < at then
        at = landmark
      end
      if at <= last then break end
      local row = row_at(at)
      if not row then break end
      local previous, before = fields_of('>I6I6', row, 10)
      landmark = before
      at = (before >= last and before ~= 0) and before or previous
      if at == 0 then break end
    end
    while not missing and at >= first and at ~= 0 and #out < 2 * limit do
      local row = row_at(at)
      if not row then break end
      out[#out + 1] = decimal(at)
      out[#out + 1] = row
      at = fields_of('>I6', row, 10)
    end
  else
    -- Down from landmark to landmark, then up again, one stretch after the other.
    local landmarks, at = {}, landmark
    while at ~= 0 and at >= first and not missing do
      landmarks[#landmarks + 1] = at
      local row = row_at(at)
      if row then at = fields_of('>I6', row, 16) end
    end
    local below, next_landmark = 0, #landmarks
    while not missing and #out < 2 * limit do
      local top = next_landmark > 0 and landmarks[next_landmark] or newest
      local stretch, from = {}, top
      while from > below and from >= first and from ~= 0 do
        local row = row_at(from)
        if not row then break end
        if from <= last then
          stretch[#stretch + 1] = row
          stretch[#stretch + 1] = decimal(from)
        end
        from = fields_of('>I6', row, 10)
      end
      for i = #stretch, 1, -1 do
        if #out < 2 * limit then out[#out + 1] = stretch[i] end
      end
      if top >= last or next_landmark == 0 then break end
      below = top
      next_landmark = next_landmark - 1
    end
  end
  if missing then return corrupt('the event at position ' .. decimal(missing) .. ' is not there') end
  return out
end
