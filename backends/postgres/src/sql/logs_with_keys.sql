SELECT l.name, l.tenant
FROM @schema@.logs l
WHERE EXISTS (SELECT FROM @schema@.keys k WHERE k.log = l.id)
ORDER BY l.name, l.tenant
