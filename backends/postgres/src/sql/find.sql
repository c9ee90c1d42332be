SELECT l.state, i.owner, r.revision, r.attributes, r.identities
FROM @schema@.logs l
LEFT JOIN @schema@.identities i
    ON i.log = l.id AND i.generation = l.generation AND i.resource = $3 AND i.name = $4 AND i.value = $5
LEFT JOIN @schema@.records r
    ON r.log = l.id AND r.generation = l.generation AND r.resource = $3 AND r.id = i.owner
WHERE l.name = $1 AND l.tenant = $2
