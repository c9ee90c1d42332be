SELECT asked.at, i.owner
FROM unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS asked(resource, name, value, at)
CROSS JOIN LATERAL (
    SELECT known.owner
    FROM @schema@.identities known
    WHERE known.log = $1 AND known.generation = $2 AND known.resource = asked.resource AND known.name = asked.name
        AND known.value = asked.value
    OFFSET 0
) i
