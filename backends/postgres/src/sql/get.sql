-- The records of some keys, with the state of their log: one row with the state alone if there are none.
SELECT l.state, r.at, r.revision, r.attributes, r.identities
FROM @schema@.logs l
LEFT JOIN LATERAL (
    SELECT asked.at, known.revision, known.attributes, known.identities
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS asked(resource, id, at)
    JOIN @schema@.records known
        ON known.log = l.id AND known.generation = l.generation AND known.resource = asked.resource
        AND known.id = asked.id
    WHERE known.attributes IS NOT NULL
) r ON true
WHERE l.name = $1 AND l.tenant = $2
