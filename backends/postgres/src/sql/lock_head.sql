SELECT id, generation, state FROM @schema@.logs WHERE name = $1 AND tenant = $2 FOR UPDATE
