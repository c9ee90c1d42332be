-- What a call of `commit` takes, and what it finds of what its commits are about.
--
-- It is written by `batch.rs`:
--   tag, mode, command to publish with, number of lock keys, lock keys..;
--   number of buckets of event ids, for each: its name, number of ids, ids..;
--   number of resources, for each: its name, what is asked of it, number of records, record ids..;
--   number of subjects, subjects..;
--   the forms of the commits, and for each commit what its form says.
-- The forms are one value, with 8 bytes for each commit: the form (1), a record (3), an event id (3), and a number of guards
-- and writes of keys (1); all 0 for a commit in full. A commit of one change without identities, and without checks but those
-- of keys, is mostly of another form. Its guards and its writes of keys come first, and then:
--   new: an event of a record that is not to be there, and the write that makes it. The event's row as it is if it is the
--     record's first, and the record's new row;
--   update: an event, and a write that expects a revision. The event, the record's new row, and the 14 bytes that the row
--     before it begins with: that revision, and no identities;
--   event: an event alone. The event;
--   full: number of values that follow, number of checks, number of changes, the position that it accepts a rewound log at
--     ('' for none, '*' if it is of keys only: any state will do), checks.., changes..
-- A guard: 'g', subject, epoch. A write of keys: 'k', subject, expected version, the new row, the new ids (32 bytes each) in
-- one value. Both stand among the checks, before all others.
-- A check of a record: 'r', record, expected. A check of an identity: 'i', resource, identity, owner ('' for none).
-- A change: kind ('e' event, 'w' write, 'b' both), record; id and event; expected and the new row.
-- A new row has the revision that follows the expected one, the first one if none is expected by its number.
-- Records, resources, event ids and subjects are numbers: their places among all that were named before, from 1.

-- Gives the batch, and where its commits begin among the arguments; or nil, and the answer of the whole call.
local function read_batch(head, args)
  local tag = args[1]
  local refused, values, at = gate(tag, head, args, 4)
  if refused then return nil, refused end
  local damaged, position, generation, state = read_head(values)
  if damaged then return nil, damaged end

  -- The event ids that are known, with their positions. Those of one bucket have numbers that follow each other: `shift`
  -- leads from a number to its place among the arguments. Most batches have one bucket.
  local known, buckets, bucket_of, numbered = {}, {}, {}, 0
  for number = 1, tonumber(args[at]) do
    local key, count = tag .. ':i:' .. args[at + 1], tonumber(args[at + 2])
    local positions = hmget(key, args, at + 3, count)
    local bucket = { key = key, shift = at + 2 - numbered, rows = room_for(2 * count) }
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

  -- The records, numbered over all resources: their rows, and the ends of their chains.
  local resources, resource_of, rows_of, ends_of, records = {}, {}, {}, {}, 0
  local of_generation = ':' .. generation .. ':'
  for number = 1, tonumber(args[at]) do
    local name, wanted, count = args[at + 1], args[at + 2], tonumber(args[at + 3])
    local rows_key, ends_key = tag .. ':r' .. of_generation .. name, tag .. ':c:' .. name
    local rows = wanted ~= 'c' and hmget(rows_key, args, at + 4, count) or {}
    local ends = wanted ~= 'r' and hmget(ends_key, args, at + 4, count) or {}
    -- `rows`, `ends` and `born` are what is to be written, in pairs, the latest last; `died` has the ids of those that are
    -- no longer there.
    local resource = {
      number = number, name = name, shift = at + 3 - records,
      rows_key = rows_key, ends_key = ends_key, live_key = tag .. ':l' .. of_generation .. name,
      unique_key = tag .. ':u' .. of_generation .. name,
      rows = room_for(2 * count), ends = room_for(2 * count), born = room_for(2 * count), died = {},
    }
    resources[number] = resource
    if number == 1 then
      rows_of, ends_of = rows, ends
    else
      for i = 1, count do
        resource_of[records + i], rows_of[records + i], ends_of[records + i] = resource, rows[i], ends[i]
      end
    end
    records = records + count
    at = at + 3 + count
  end

  local vault
  vault, at = read_keys(tag, args, at + 1)
  return {
    head = head, tag = tag, args = args, generation = generation,
    -- The state of the log, which the commits change.
    before = position, position = position, state_before = state, state = state,
    known = known, buckets = buckets, bucket_of = bucket_of,
    resources = resources, resource_of = resource_of, rows_of = rows_of, ends_of = ends_of, vault = vault,
    -- The rows of the events that the commits make, from 1; and the owners of identities that they change, by resource and
    -- identity: false for nobody.
    events = {}, owners = {},
  }, at
end
