-- Known events of a batch, in full.
SELECT @event_columns@
FROM unnest($1::bigint[], $2::uuid[]) AS asked(log, id)
CROSS JOIN LATERAL (
    SELECT * FROM @schema@.events known WHERE known.id = asked.id AND known.log + 0 = asked.log OFFSET 0
) e
