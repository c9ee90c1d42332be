SELECT position, generation, state, rewound_to FROM @schema@.logs WHERE name = $1 AND tenant = $2
