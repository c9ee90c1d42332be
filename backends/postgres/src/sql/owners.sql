SELECT asked.at, i.owner
FROM unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS asked(resource, name, value, at)
JOIN @schema@.identities i
    ON i.log = $1 AND i.generation = $2 AND i.resource = asked.resource AND i.name = asked.name AND i.value = asked.value
