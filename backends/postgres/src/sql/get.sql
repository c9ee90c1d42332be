-- The records of some keys, with the state of their log: one row with the state alone if there are none. Each is looked up
-- by its whole key (see view.sql).
SELECT l.state, r.at, r.revision, r.attributes, r.identities
FROM @schema@.logs l
LEFT JOIN LATERAL (
    SELECT asked.at, record.revision, record.attributes, record.identities
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS asked(resource, id, at)
    CROSS JOIN LATERAL (
        SELECT known.revision, known.attributes, known.identities
        FROM @schema@.records known
        WHERE known.log = l.id AND known.generation = l.generation AND known.resource = asked.resource
            AND known.id = asked.id AND known.attributes IS NOT NULL
        OFFSET 0
    ) record
) r ON true
WHERE l.name = $1 AND l.tenant = $2
