SELECT l.state, i.owner, r.revision, r.attributes, r.identities
FROM @schema@.logs l
LEFT JOIN LATERAL (
    SELECT known.owner
    FROM @schema@.identities known
    WHERE known.log = l.id AND known.generation = l.generation AND known.resource = $3 AND known.name = $4
        AND known.value = $5
    OFFSET 0
) i ON true
LEFT JOIN LATERAL (
    SELECT known.revision, known.attributes, known.identities
    FROM @schema@.records known
    WHERE known.log = l.id AND known.generation = l.generation AND known.resource = $3 AND known.id = i.owner
    OFFSET 0
) r ON true
WHERE l.name = $1 AND l.tenant = $2
