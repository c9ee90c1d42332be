UPDATE @schema@.logs SET state = 0, rewound_to = NULL, version = version + 1 WHERE id = $1 AND state = 2
