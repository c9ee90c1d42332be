SELECT asked.at, r.revision, r.attributes, r.identities
FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS asked(resource, id, at)
JOIN @schema@.records r ON r.log = $1 AND r.generation = $2 AND r.resource = asked.resource AND r.id = asked.id
