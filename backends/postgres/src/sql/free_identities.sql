DELETE FROM @schema@.identities
WHERE ctid = ANY(ARRAY(
    SELECT i.ctid
    FROM unnest($3::text[], $4::text[], $5::text[]) AS freed(resource, name, value)
    CROSS JOIN LATERAL (
        SELECT known.ctid
        FROM @schema@.identities known
        WHERE known.log = $1 AND known.generation = $2 AND known.resource = freed.resource AND known.name = freed.name
            AND known.value = freed.value
        OFFSET 0
    ) i
))
