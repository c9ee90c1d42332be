-- All that the commits of a batch find: heads, known event ids, records, owners of identities. One snapshot.
--
-- Each row is looked up by its whole key: OFFSET 0 keeps the planner from joining by a part of it, as it would while a table
-- has no statistics.
WITH log AS MATERIALIZED (
    SELECT asked.at, l.*
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(name, tenant, at)
    CROSS JOIN LATERAL (
        SELECT * FROM @schema@.logs known WHERE known.name = asked.name AND known.tenant = asked.tenant OFFSET 0
    ) l
)
SELECT 0 AS kind, log.at, log.id AS a, log.position AS b, log.generation AS c, log.version AS d,
    log.rewound_to AS e, log.state::integer AS f, NULL::text AS g
FROM log
UNION ALL
SELECT 1, asked.at, e.position, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($3::bigint[], $4::uuid[]) WITH ORDINALITY AS asked(log, id, at)
JOIN log ON log.at = asked.log
CROSS JOIN LATERAL (
    SELECT known.position FROM @schema@.events known WHERE known.log = log.id AND known.id = asked.id OFFSET 0
) e
UNION ALL
SELECT 2, asked.at, r.revision, NULL, NULL, NULL, NULL, (r.attributes IS NOT NULL)::integer, r.identities
FROM unnest($5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY AS asked(log, resource, id, at)
JOIN log ON log.at = asked.log
CROSS JOIN LATERAL (
    SELECT known.revision, known.attributes, known.identities
    FROM @schema@.records known
    WHERE known.log = log.id AND known.generation = log.generation AND known.resource = asked.resource
        AND known.id = asked.id
    OFFSET 0
) r
UNION ALL
SELECT 3, asked.at, NULL, NULL, NULL, NULL, NULL, NULL, i.owner
FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[]) WITH ORDINALITY AS asked(log, resource, name, value, at)
JOIN log ON log.at = asked.log
CROSS JOIN LATERAL (
    SELECT known.owner
    FROM @schema@.identities known
    WHERE known.log = log.id AND known.generation = log.generation AND known.resource = asked.resource
        AND known.name = asked.name AND known.value = asked.value
    OFFSET 0
) i
