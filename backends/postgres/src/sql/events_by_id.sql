-- Known events of a batch, in full.
SELECT @event_columns@
FROM unnest($1::bigint[], $2::uuid[]) AS asked(log, id)
JOIN @schema@.events e ON e.log = asked.log AND e.id = asked.id
