-- The heads of these logs, locked until the transaction ends.
SELECT l.id
FROM @schema@.logs l
WHERE (l.name, l.tenant) IN (SELECT asked.name, asked.tenant FROM unnest($1::text[], $2::text[]) AS asked(name, tenant))
ORDER BY l.id
FOR UPDATE
