SELECT asked.at, r.revision, r.attributes, r.identities
FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS asked(resource, id, at)
CROSS JOIN LATERAL (
    SELECT known.revision, known.attributes, known.identities
    FROM @schema@.records known
    WHERE known.log = $1 AND known.generation = $2 AND known.resource = asked.resource AND known.id = asked.id
    OFFSET 0
) r
