-- What the functions share. The files of this folder are put together in the order of `functions.rs`; each call runs alone,
-- so what a function reads does not change before it writes.

-- How many events one list holds: position p is entry (p - 1) % SEGMENT of list (p - 1) / SEGMENT. Part of the layout.
local SEGMENT = 1000
-- Every so many events of one record, an event is a landmark that the later ones point back to. Part of the layout.
local STRIDE = 64
-- Beyond this a double skips integers.
local LARGEST = 9007199254740992
-- How many values are handed to one command: Lua's stack takes no more than 8,000.
local MANY = 4000
-- How many values a list that will grow has room for at most.
local ROOM = 128

local NONE12 = '\0\0\0\0\0\0\0\0\0\0\0\0'
local FIRST_OF_CHAIN = '\0\0\0\0\0\0\0\0\0\0\0\1'
local NONE8 = '\0\0\0\0\0\0\0\0'
local FIRST = '\0\0\0\0\0\0\0\1'

-- What the functions use of Lua and Redis, as locals: each use of a global would be one or two look-ups. It is not there yet
-- when a library is loaded, so `ready` is called before each function that is called from outside: see `functions.rs`.
local call, sub, byte, format, pack, fields_of, floor, min, nils
local function ready()
  if call then return end
  call, sub, byte, format = redis.call, string.sub, string.byte, string.format
  pack, fields_of, floor, min = struct.pack, struct.unpack, math.floor, math.min
  nils = { unpack({}, 1, ROOM) }
end

-- An empty list with room for so many values: one without would be made larger again and again.
local function room_for(count)
  return { unpack(nils, 1, min(count, ROOM)) }
end

-- A number as text, exactly: Lua's own way cuts it to 14 digits.
local function decimal(number)
  return format('%d', number)
end

local function corrupt(what)
  return redis.error_reply('RKCORRUPT ' .. what)
end

-- The answer of a call that has to wait until a slot has been moved.
local function moving()
  return redis.error_reply('TRYAGAIN the slot of the log is being moved')
end

-- Whether all keys of this list are on this node. While a slot is moved a part of its keys is elsewhere, and a key that is
-- not there may never have been: asking the node for it is an error then. So what is to be written is asked for first, and
-- nothing is written halfway. Only in a cluster (`mode` is 'c') there is need to.
local function here(mode, keys)
  if mode ~= 'c' then return true end
  for first = 1, #keys, MANY do
    local found = redis.pcall('EXISTS', unpack(keys, first, min(first + MANY - 1, #keys)))
    if type(found) == 'table' then return false end
  end
  return true
end

-- The values of `count` fields of a hash, that are in a list from `first` on.
local function hmget(key, list, first, count)
  if count == 0 then return {} end
  if count <= MANY then return call('HMGET', key, unpack(list, first, first + count - 1)) end
  local all = {}
  for from = first, first + count - 1, MANY do
    local part = call('HMGET', key, unpack(list, from, min(from + MANY, first + count) - 1))
    for i = 1, #part do all[#all + 1] = part[i] end
  end
  return all
end

-- Calls a command on a key with all values of a list, which are in groups of one or two.
local function with_all(command, key, list)
  local count = #list
  if count <= MANY then
    if count > 0 then call(command, key, unpack(list)) end
    return
  end
  for from = 1, count, MANY do
    call(command, key, unpack(list, from, min(from + MANY - 1, count)))
  end
end

-- The next revision: eight bytes, the highest first. It stops at the greatest.
local function next_revision(revision)
  local high, low = fields_of('>I4I4', revision)
  low = low + 1
  if low == 4294967296 then
    if high == 4294967295 then return revision end
    high, low = high + 1, 0
  end
  return pack('>I4I4', high, low)
end

-- The row of the event at a position; nil if it is not there.
--
-- A row: its version (1 byte), the revision of the record after it (8; zero if it came without a write), the position of the
-- record's event before it (6), that of the landmark before it (6), and the event.
local function event_row(tag, position)
  local index = position - 1
  return call('LINDEX', tag .. ':e:' .. decimal(floor(index / SEGMENT)), index % SEGMENT) or nil
end

-- The head of a log: an error or nil, position, generation, state.
--
-- The state is 'l' (live), 'b' (being rebuilt in place), or 'w' and a position (rewound).
local function read_head(values)
  local version, position, generation, state = values[1], values[2], values[3], values[4]
  if version and version ~= '1' then
    return redis.error_reply('RKLAYOUT ' .. version)
  end
  position = tonumber(position or '0')
  if not position or position > LARGEST - 100000000 then
    return corrupt('the position of the log is damaged')
  end
  return nil, position, generation or '0', state or 'l'
end

-- What stands in the way of a change under these lock keys; nil if nothing does. `first` is the place of their number.
local function gate(tag, head, args, first)
  local count = tonumber(args[first])
  local fields = { 'v', 'p', 'g', 's' }
  for i = 1, count do
    local lock = args[first + i]
    local token = call('GET', tag .. ':f:' .. lock)
    if token then return { 'FENCED', lock, token } end
    fields[4 + i] = 'k' .. lock
  end
  local values = call('HMGET', head, unpack(fields))
  for i = 1, count do
    if not values[4 + i] then return { 'UNKNOWN', args[first + i] } end
  end
  return nil, values, first + count + 1
end

-- Whether a row of a record is one of a record that is there, not of a destroyed one.
--
-- A row: its version (1 byte), its revision (8), whether it is there (1); and if it is, the size of its identities (4), the
-- identities (each a name and a value, each followed by NUL), and its attributes.
local function is_live(row)
  return row and byte(row, 10) == 1
end

-- The identities of a record, as they are in its row: '' if there are none.
local function identities(row)
  if not is_live(row) then return '' end
  local size = fields_of('>I4', row, 11)
  if size == 0 then return '' end
  return sub(row, 15, 14 + size)
end

local function each_identity(section)
  return string.gmatch(section, '[^%z]+%z[^%z]+')
end
