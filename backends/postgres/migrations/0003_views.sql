-- For people who ask by SQL.

-- Text as JSONB; null where JSONB cannot hold it (`\u0000`, a number that is too large). The text itself is in the tables.
CREATE FUNCTION @schema@.as_jsonb(json text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN json::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END;
$$;

-- The events of all logs. A section that is sealed is null.
CREATE VIEW @schema@.history AS
SELECT l.name AS log,
    nullif(l.tenant, '') AS tenant,
    e.position,
    e.id,
    e.resource,
    e.record_id,
    e.revision,
    e.action,
    CASE e.action_type WHEN 0 THEN 'create' WHEN 1 THEN 'update' WHEN 2 THEN 'destroy' END AS action_type,
    e.version,
    e.actor_kind,
    e.actor_id,
    -- Years before -4713, which a timestamp cannot hold, are '-infinity'.
    CASE WHEN e.occurred_at < -210866803200000000 THEN '-infinity'::timestamptz
        ELSE 'epoch'::timestamptz + (e.occurred_at / 1000000) * interval '1 second'
            + (e.occurred_at % 1000000) * interval '1 microsecond'
    END AS occurred_at,
    @schema@.as_jsonb(e.data) AS data,
    @schema@.as_jsonb(e.changed_attributes) AS changed_attributes,
    coalesce(@schema@.as_jsonb(e.removed_attributes), '[]') AS removed_attributes,
    @schema@.as_jsonb(e.metadata) AS metadata
FROM @schema@.events e
JOIN @schema@.logs l ON l.id = e.log;

-- The records of all logs, as they are now.
CREATE VIEW @schema@.state AS
SELECT l.name AS log,
    nullif(l.tenant, '') AS tenant,
    r.resource,
    r.id,
    r.revision,
    @schema@.as_jsonb(r.attributes) AS attributes
FROM @schema@.logs l
JOIN @schema@.records r ON r.log = l.id AND r.generation = l.generation
WHERE r.attributes IS NOT NULL AND l.state <> 1;
