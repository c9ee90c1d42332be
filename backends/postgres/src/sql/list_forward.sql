SELECT l.state, r.id, r.revision, r.attributes, r.identities
FROM @schema@.logs l
LEFT JOIN LATERAL (
    SELECT known.id, known.revision, known.attributes, known.identities
    FROM @schema@.records known
    WHERE known.log = l.id AND known.generation = l.generation AND known.resource = $3 AND known.id > $4
        AND known.attributes IS NOT NULL
    ORDER BY known.id
    LIMIT $5
) r ON true
WHERE l.name = $1 AND l.tenant = $2
ORDER BY r.id
