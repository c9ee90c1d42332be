UPDATE @schema@.logs
SET generation = $2, state = CASE WHEN position = $3 THEN 0 ELSE 2 END,
    rewound_to = CASE WHEN position = $3 THEN NULL ELSE $3 END, version = version + 1
WHERE id = $1
