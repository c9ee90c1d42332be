#!lua name=bench_raw
-- Writes the rows of a batch, and does nothing else: no checks, no answers. Takes: tag, resource, position, list of events;
-- number of commits, then for each: event row, hash of its id, id, record id, chain, record row.
redis.register_function('bench_raw', function(keys, args)
  local tag, resource, position = args[1], args[2], tonumber(args[3])
  local count = tonumber(args[5])
  local rows, ids, chains, records, live, bucket = {}, {}, {}, {}, {}, args[7]
  for i = 1, count do
    local at = 6 * i
    rows[i] = args[at]
    ids[2 * i - 1], ids[2 * i] = args[at + 2], string.format('%d', position + i)
    chains[2 * i - 1], chains[2 * i] = args[at + 3], args[at + 4]
    records[2 * i - 1], records[2 * i] = args[at + 3], args[at + 5]
    live[2 * i - 1], live[2 * i] = 0, args[at + 3]
  end
  redis.call('RPUSH', tag .. ':e:' .. args[4], unpack(rows))
  redis.call('HSET', tag .. ':i:' .. bucket, unpack(ids))
  redis.call('HSET', tag .. ':c:' .. resource, unpack(chains))
  redis.call('HSET', tag .. ':r:0:' .. resource, unpack(records))
  redis.call('ZADD', tag .. ':l:0:' .. resource, unpack(live))
  redis.call('HSET', keys[1], 'p', string.format('%d', position + count))
  return count
end)
