-- A part of the identities of generations that are not in use: between $2 and $3, but for $4.
DELETE FROM @schema@.identities
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM @schema@.identities
    WHERE log = $1 AND generation BETWEEN $2 AND $3 AND generation IS DISTINCT FROM $4
    LIMIT 5000
))
