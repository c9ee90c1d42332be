SELECT count(*) FROM @schema@.records WHERE log = $1 AND generation = $2 AND attributes IS NOT NULL
