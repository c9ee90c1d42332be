SELECT asked.at, i.subject, k.version, k.epoch, k.body
FROM @schema@.logs l
CROSS JOIN unnest($3::bytea[]) WITH ORDINALITY AS asked(id, at)
CROSS JOIN LATERAL (
    SELECT known.subject FROM @schema@.key_ids known WHERE known.log = l.id AND known.id = asked.id OFFSET 0
) i
LEFT JOIN LATERAL (
    SELECT * FROM @schema@.keys known WHERE known.log = l.id AND known.subject = i.subject OFFSET 0
) k ON true
WHERE l.name = $1 AND l.tenant = $2
