-- All that the commits of a batch find: heads, known event ids, records, owners of identities. One snapshot.
WITH log AS MATERIALIZED (
    SELECT asked.at, l.*
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(name, tenant, at)
    JOIN @schema@.logs l ON l.name = asked.name AND l.tenant = asked.tenant
)
SELECT 0 AS kind, log.at, log.id AS a, log.position AS b, log.generation AS c, log.version AS d,
    log.rewound_to AS e, log.state::integer AS f, NULL::text AS g
FROM log
UNION ALL
SELECT 1, asked.at, e.position, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($3::bigint[], $4::uuid[]) WITH ORDINALITY AS asked(log, id, at)
JOIN log ON log.at = asked.log
JOIN @schema@.events e ON e.log = log.id AND e.id = asked.id
UNION ALL
SELECT 2, asked.at, r.revision, NULL, NULL, NULL, NULL, (r.attributes IS NOT NULL)::integer, r.identities
FROM unnest($5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY AS asked(log, resource, id, at)
JOIN log ON log.at = asked.log
JOIN @schema@.records r
    ON r.log = log.id AND r.generation = log.generation AND r.resource = asked.resource AND r.id = asked.id
UNION ALL
SELECT 3, asked.at, NULL, NULL, NULL, NULL, NULL, NULL, i.owner
FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[]) WITH ORDINALITY AS asked(log, resource, name, value, at)
JOIN log ON log.at = asked.log
JOIN @schema@.identities i
    ON i.log = log.id AND i.generation = log.generation AND i.resource = asked.resource AND i.name = asked.name
    AND i.value = asked.value
