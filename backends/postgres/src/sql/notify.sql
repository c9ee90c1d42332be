-- A hint is lost with the server, so its transaction need not wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, hint) FROM unnest($2::text[]) AS hint
