SELECT
    (SELECT oid FROM pg_type WHERE typname = 'event_row' AND typnamespace = schema.oid),
    (SELECT oid FROM pg_type WHERE typname = 'record_row' AND typnamespace = schema.oid)
FROM pg_namespace schema WHERE nspname = $1
