DELETE FROM @schema@.identities i
USING unnest($3::text[], $4::text[], $5::text[]) AS freed(resource, name, value)
WHERE i.log = $1 AND i.generation = $2 AND i.resource = freed.resource AND i.name = freed.name AND i.value = freed.value
