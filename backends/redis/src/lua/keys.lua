-- The vault's keys in a batch: what commits find of them, and what they write.
--
-- A row: its version (1 byte), the version of the keys (8), their epoch (8), and the keys. Without a row both numbers are 0.
-- They are compared as the bytes that they are: a double does not tell all of them apart.

-- The keys of a batch that names no subject. Nothing is ever put into them.
local NO_KEYS = { rows = {} }

-- Reads the rows of the subjects that a batch names. Gives the keys of the batch, and where its arguments go on.
local function read_keys(tag, args, at)
  if args[at] == '0' then return NO_KEYS, at + 1 end
  local count = tonumber(args[at])
  local held = hmget(tag .. ':k', args, at + 1, count)
  -- Subjects are counted from behind `at`. `rows`, `ids` and `born` are what is to be written: in pairs.
  return { args = args, at = at, held = held, rows = {}, ids = {}, born = {} }, at + 1 + count
end

-- What keeps the guard or the write at `at` from being as it says: 'V' other keys, or 'D' a damaged row, with the subject; nil
-- if nothing does.
local function against_keys(keys, args, at)
  local subject = tonumber(args[at + 1])
  local row, from = keys.held[subject], args[at] == 'g' and 10 or 2
  if row and (#row < 17 or byte(row) ~= 1) then return { 'D', keys.args[keys.at + subject] } end
  if (row and sub(row, from, from + 7) or NONE8) ~= args[at + 2] then return { 'V', keys.args[keys.at + subject] } end
  return nil
end

-- Makes the write at `at`, for the commits that follow.
local function put_keys(keys, args, at)
  local subject, row, new_ids = tonumber(args[at + 1]), args[at + 3], args[at + 4]
  local name, rows, ids, born = keys.args[keys.at + subject], keys.rows, keys.ids, keys.born
  if not keys.held[subject] then
    born[#born + 1], born[#born + 2] = '0', name
  end
  keys.held[subject] = row
  rows[#rows + 1], rows[#rows + 2] = name, row
  for first = 1, #new_ids, 32 do
    ids[#ids + 1], ids[#ids + 2] = sub(new_ids, first, first + 31), name
  end
end
