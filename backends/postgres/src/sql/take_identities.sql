INSERT INTO @schema@.identities (log, generation, resource, name, value, owner)
SELECT $1, $2, taken.resource, taken.name, taken.value, taken.owner
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS taken(resource, name, value, owner)
ON CONFLICT (log, generation, resource, name, value) DO UPDATE SET owner = excluded.owner
