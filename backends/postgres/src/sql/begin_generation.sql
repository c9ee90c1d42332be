-- A generation that never was before. In place ($2), nobody reads the records in use from here on.
UPDATE @schema@.logs
SET last_generation = last_generation + 1, version = version + 1, state = CASE WHEN $2 THEN 1 ELSE state END
WHERE id = $1
RETURNING last_generation, generation, state
