INSERT INTO @schema@.records (log, generation, revision, resource, id, attributes, identities)
SELECT $1, $2, r.revision, r.resource, r.id, r.attributes, r.identities
FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS r(revision, resource, id, attributes, identities)
ON CONFLICT (log, generation, resource, id) DO UPDATE
SET revision = excluded.revision, attributes = excluded.attributes, identities = excluded.identities
