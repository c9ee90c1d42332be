SELECT asked.at, k.subject, k.version, k.epoch, k.body
FROM @schema@.logs l
CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS asked(subject, at)
CROSS JOIN LATERAL (
    SELECT * FROM @schema@.keys known WHERE known.log = l.id AND known.subject = asked.subject OFFSET 0
) k
WHERE l.name = $1 AND l.tenant = $2
