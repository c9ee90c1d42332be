SELECT k.subject, k.version, k.epoch, k.body
FROM @schema@.logs l
CROSS JOIN LATERAL (
    SELECT * FROM @schema@.keys known WHERE known.log = l.id AND known.subject > $3 ORDER BY known.subject LIMIT $4
) k
WHERE l.name = $1 AND l.tenant = $2
ORDER BY k.subject
