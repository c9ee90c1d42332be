UPDATE @schema@.logs
SET generation = last_generation + 1, last_generation = last_generation + 1, version = version + 1,
    state = CASE WHEN position > 0 THEN 2 ELSE 0 END, rewound_to = CASE WHEN position > 0 THEN 0 END
WHERE id = $1
