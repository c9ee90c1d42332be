-- What the backend calls, and what an administrator does.

-- Takes the locks of a batch, each kind in sorted order; they are held until the transaction ends.
CREATE FUNCTION @schema@.take_locks(ones bigint[], firsts integer[], seconds integer[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(ones) LOOP
        PERFORM pg_advisory_xact_lock(ones[i]);
    END LOOP;
    FOR i IN 1 .. cardinality(firsts) LOOP
        PERFORM pg_advisory_xact_lock(firsts[i], seconds[i]);
    END LOOP;
END;
$$;

-- All that the commits of a batch find: heads, known event ids, records, owners of identities, how far keys are. One
-- snapshot.
--
-- Each row is looked up by its whole key: OFFSET 0 keeps the planner from joining by a part of it, as it would while a table
-- has no statistics; and `log + 0` from looking an event up by its log alone. It is planned once: to plan it anew costs more
-- than to run it.
CREATE FUNCTION @schema@.view_batch(
    text[], text[], bigint[], uuid[], bigint[], text[], text[], bigint[], text[], text[], text[], bigint[], text[]
) RETURNS TABLE (kind integer, place bigint, a bigint, b bigint, c bigint, d bigint, e bigint, f integer, g text)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    WITH log AS MATERIALIZED (
        SELECT asked.at, l.*
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(name, tenant, at)
        CROSS JOIN LATERAL (
            SELECT * FROM @schema@.logs known WHERE known.name = asked.name AND known.tenant = asked.tenant OFFSET 0
        ) l
    )
    SELECT 0 AS kind, log.at, log.id AS a, log.position AS b, log.generation AS c, log.version AS d,
        log.rewound_to AS e, log.state::integer AS f, NULL::text AS g
    FROM log
    UNION ALL
    SELECT 1, asked.at, e.position, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::integer, NULL::text
    FROM unnest($3::bigint[], $4::uuid[]) WITH ORDINALITY AS asked(log, id, at)
    JOIN log ON log.at = asked.log
    CROSS JOIN LATERAL (
        SELECT known.position FROM @schema@.events known WHERE known.id = asked.id AND known.log + 0 = log.id OFFSET 0
    ) e
    UNION ALL
    SELECT 2, asked.at, r.revision, NULL, NULL, NULL, NULL, (r.attributes IS NOT NULL)::integer, r.identities
    FROM unnest($5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY AS asked(log, resource, id, at)
    JOIN log ON log.at = asked.log
    CROSS JOIN LATERAL (
        SELECT known.revision, known.attributes, known.identities
        FROM @schema@.records known
        WHERE known.log = log.id AND known.generation = log.generation AND known.resource = asked.resource
            AND known.id = asked.id
        OFFSET 0
    ) r
    UNION ALL
    SELECT 3, asked.at, NULL, NULL, NULL, NULL, NULL, NULL, i.owner
    FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[]) WITH ORDINALITY AS asked(log, resource, name, value, at)
    JOIN log ON log.at = asked.log
    CROSS JOIN LATERAL (
        SELECT known.owner
        FROM @schema@.identities known
        WHERE known.log = log.id AND known.generation = log.generation AND known.resource = asked.resource
            AND known.name = asked.name AND known.value = asked.value
        OFFSET 0
    ) i
    UNION ALL
    SELECT 4, asked.at, k.version, k.epoch, NULL, NULL, NULL, NULL, NULL
    FROM unnest($12::bigint[], $13::text[]) WITH ORDINALITY AS asked(log, subject, at)
    JOIN log ON log.at = asked.log
    CROSS JOIN LATERAL (
        SELECT known.version, known.epoch
        FROM @schema@.keys known
        WHERE known.log = log.id AND known.subject = asked.subject
        OFFSET 0
    ) k;
END;
$$;

-- Writes what a batch changes in its logs, if each of them is at the version that it was read at; else it raises RK001 and
-- writes nothing. Logs come sorted by id, those without an id (they are new) last; rows come sorted by key. `*_log` is the
-- place of a row's log among the logs. A list that can hold nulls may be shorter than the others; nulls follow.
-- Those of the columns of events and records may be null if they are empty.
CREATE FUNCTION @schema@.write_batch(
    ones bigint[], firsts integer[], seconds integer[],
    log_ids bigint[], log_names text[], log_tenants text[], log_versions bigint[], log_positions bigint[],
    log_states smallint[], log_rewound_to bigint[],
    event_log integer[], event_position bigint[], event_revision bigint[], event_occurred_at bigint[],
    event_version bigint[], event_id uuid[], event_action_type smallint[], event_resource text[], event_record_id text[],
    event_action text[], event_actor_kind text[], event_actor_id text[], event_data text[], event_changed text[],
    event_metadata text[], event_removed text[],
    sealed_data bytea[], sealed_changed bytea[], sealed_metadata bytea[],
    record_log integer[], record_generation bigint[], record_revision bigint[], record_resource text[], record_id text[],
    record_attributes text[], record_identities text[],
    freed_log integer[], freed_generation bigint[], freed_resource text[], freed_name text[], freed_value text[],
    taken_log integer[], taken_generation bigint[], taken_resource text[], taken_name text[], taken_value text[],
    taken_owner text[],
    key_log integer[], key_subject text[], key_version bigint[], key_epoch bigint[], key_body bytea[],
    key_id_log integer[], key_id bytea[], key_id_subject text[]
) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    ids bigint[] := log_ids;
    added bigint;
BEGIN
    FOR i IN 1 .. cardinality(ones) LOOP
        PERFORM pg_advisory_xact_lock(ones[i]);
    END LOOP;
    FOR i IN 1 .. cardinality(firsts) LOOP
        PERFORM pg_advisory_xact_lock(firsts[i], seconds[i]);
    END LOOP;

    FOR i IN 1 .. cardinality(log_ids) LOOP
        IF log_ids[i] IS NULL THEN
            INSERT INTO @schema@.logs AS l (name, tenant, version, position)
            VALUES (log_names[i], log_tenants[i], 1, log_positions[i])
            ON CONFLICT (name, tenant) DO NOTHING
            RETURNING l.id INTO added;
            ids[i] := added;
        ELSE
            UPDATE @schema@.logs
            SET version = log_versions[i] + 1, position = log_positions[i], state = log_states[i],
                rewound_to = log_rewound_to[i]
            WHERE id = log_ids[i] AND version = log_versions[i];
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a log has changed since it was read' USING ERRCODE = 'RK001';
        END IF;
    END LOOP;

    INSERT INTO @schema@.events (
        log, position, revision, occurred_at, version, id, action_type, resource, record_id, action, actor_kind, actor_id,
        data, changed_attributes, metadata, removed_attributes, sealed_data, sealed_changed_attributes, sealed_metadata)
    SELECT ids[e.a], e.b, e.c, e.d, e.e, e.f, e.g, e.h, e.i, e.j, e.k, e.l, e.m, e.n, e.o, e.p, e.q, e.r, e.s
    FROM unnest(event_log, event_position, event_revision, event_occurred_at, event_version, event_id, event_action_type,
        event_resource, event_record_id, event_action, event_actor_kind, event_actor_id, event_data, event_changed,
        event_metadata, event_removed, sealed_data, sealed_changed, sealed_metadata)
        AS e(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s);

    INSERT INTO @schema@.records AS known (log, generation, revision, resource, id, attributes, identities)
    SELECT ids[r.a], r.b, r.c, r.d, r.e, r.f, r.g
    FROM unnest(record_log, record_generation, record_revision, record_resource, record_id, record_attributes,
        record_identities) AS r(a, b, c, d, e, f, g)
    ON CONFLICT (log, generation, resource, id) DO UPDATE
    SET revision = excluded.revision, attributes = excluded.attributes, identities = excluded.identities;

    FOR i IN 1 .. cardinality(freed_log) LOOP
        DELETE FROM @schema@.identities
        WHERE log = ids[freed_log[i]] AND generation = freed_generation[i] AND resource = freed_resource[i]
            AND name = freed_name[i] AND value = freed_value[i];
    END LOOP;
    IF cardinality(taken_log) > 0 THEN
        INSERT INTO @schema@.identities AS known (log, generation, resource, name, value, owner)
        SELECT ids[i.a], i.b, i.c, i.d, i.e, i.f
        FROM unnest(taken_log, taken_generation, taken_resource, taken_name, taken_value, taken_owner)
            AS i(a, b, c, d, e, f)
        ON CONFLICT (log, generation, resource, name, value) DO UPDATE SET owner = excluded.owner;
    END IF;

    IF cardinality(key_log) > 0 THEN
        INSERT INTO @schema@.keys AS known (log, subject, version, epoch, body)
        SELECT ids[k.a], k.b, k.c, k.d, k.e
        FROM unnest(key_log, key_subject, key_version, key_epoch, key_body) AS k(a, b, c, d, e)
        ON CONFLICT (log, subject) DO UPDATE
        SET version = excluded.version, epoch = excluded.epoch, body = excluded.body;
    END IF;
    IF cardinality(key_id_log) > 0 THEN
        INSERT INTO @schema@.key_ids AS known (log, id, subject)
        SELECT ids[k.a], k.b, k.c
        FROM unnest(key_id_log, key_id, key_id_subject) AS k(a, b, c)
        ON CONFLICT (log, id) DO UPDATE SET subject = excluded.subject;
    END IF;
END;
$$;

-- What append_batch writes, a row each. `before` is the revision that a record must be at, with the identities that it has
-- after it, too; 0 if it must never have been there.
CREATE TYPE @schema@.event_row AS (
    revision bigint, occurred_at bigint, version bigint, id uuid, action_type smallint, resource text, record_id text,
    action text, actor_kind text, actor_id text, data text, changed_attributes text, metadata text, removed_attributes text,
    sealed_data bytea, sealed_changed_attributes bytea, sealed_metadata bytea
);
CREATE TYPE @schema@.record_row AS (
    before bigint, revision bigint, resource text, id text, attributes text, identities text
);

-- Writes a batch of one log that was decided on what its commits expect, unread: if the log is at the version and the
-- position that it was last seen at, or that the batch before it leads to; and if records, identities and keys are as
-- expected; else it raises RK001, or a unique index refuses, and nothing is written. Keys that are new must never have been
-- there. Rows come sorted by key, and lists are null if they are empty.
CREATE FUNCTION @schema@.append_batch(
    one bigint, first integer, second integer, in_log bigint, at_version bigint, at_position bigint,
    new_events @schema@.event_row[], records_updated integer, new_records @schema@.record_row[],
    -- What most batches have none of.
    taken_resource text[] = NULL, taken_name text[] = NULL, taken_value text[] = NULL, taken_owner text[] = NULL,
    checked_resource text[] = NULL, checked_id text[] = NULL, checked_revision bigint[] = NULL,
    relied_subject text[] = NULL, relied_version bigint[] = NULL, relied_epoch bigint[] = NULL,
    keys_are_new boolean = false, key_subject text[] = NULL, key_version bigint[] = NULL, key_epoch bigint[] = NULL,
    key_body bytea[] = NULL, key_id bytea[] = NULL, key_id_subject text[] = NULL
) RETURNS void
LANGUAGE plpgsql -- on sessions of the backend's own only, which plan once
AS $$
DECLARE
    in_use bigint;
    updated integer;
BEGIN
    IF one IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(one);
    ELSIF first IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(first, second);
    END IF;

    -- One statement for what most batches are: it costs less than three.
    WITH head AS (
        UPDATE @schema@.logs
        SET version = version + 1, position = position + coalesce(cardinality(new_events), 0)
        WHERE id = in_log AND version = at_version AND position = at_position AND state = 0
        RETURNING generation
    ), event AS (
        INSERT INTO @schema@.events (
            log, position, revision, occurred_at, version, id, action_type, resource, record_id, action, actor_kind,
            actor_id, data, changed_attributes, metadata, removed_attributes, sealed_data, sealed_changed_attributes,
            sealed_metadata)
        SELECT in_log, at_position + e.at, e.revision, e.occurred_at, e.version, e.id, e.action_type, e.resource, e.record_id,
            e.action, e.actor_kind, e.actor_id, e.data, e.changed, e.metadata, e.removed, e.sealed_data, e.sealed_changed,
            e.sealed_metadata
        FROM head, unnest(new_events) WITH ORDINALITY AS e(
            revision, occurred_at, version, id, action_type, resource, record_id, action, actor_kind, actor_id, data, changed,
            metadata, removed, sealed_data, sealed_changed, sealed_metadata, at)
    ), created AS (
        INSERT INTO @schema@.records (log, generation, revision, resource, id, attributes, identities)
        SELECT in_log, head.generation, r.revision, r.resource, r.id, r.attributes, r.identities
        FROM head, unnest(new_records) AS r
        WHERE r.before = 0
    )
    SELECT head.generation INTO in_use FROM head;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a log has changed since it was seen' USING ERRCODE = 'RK001';
    END IF;

    IF cardinality(relied_subject) > 0 THEN
        PERFORM
        FROM unnest(relied_subject, relied_version, relied_epoch) AS relied(subject, version, epoch)
        LEFT JOIN LATERAL (
            SELECT known.version, known.epoch FROM @schema@.keys known
            WHERE known.log = in_log AND known.subject = relied.subject
            OFFSET 0
        ) k ON true
        WHERE coalesce(k.version, 0) <> relied.version OR coalesce(k.epoch, 0) <> relied.epoch;
        IF FOUND THEN
            RAISE EXCEPTION 'keys are not as expected' USING ERRCODE = 'RK001';
        END IF;
    END IF;
    IF cardinality(checked_id) > 0 THEN
        PERFORM
        FROM unnest(checked_resource, checked_id, checked_revision) AS checked(resource, id, revision)
        LEFT JOIN LATERAL (
            SELECT known.revision FROM @schema@.records known
            WHERE known.log = in_log AND known.generation = in_use AND known.resource = checked.resource
                AND known.id = checked.id AND known.attributes IS NOT NULL
            OFFSET 0
        ) r ON true
        WHERE coalesce(r.revision, 0) <> checked.revision;
        IF FOUND THEN
            RAISE EXCEPTION 'a record is not as expected' USING ERRCODE = 'RK001';
        END IF;
    END IF;

    IF records_updated > 0 THEN
        UPDATE @schema@.records known
        SET revision = r.revision, attributes = r.attributes
        FROM (
            SELECT found.place, written.*
            FROM unnest(new_records) AS written
            CROSS JOIN LATERAL (
                SELECT old.ctid AS place FROM @schema@.records old
                WHERE old.log = in_log AND old.generation = in_use AND old.resource = written.resource
                    AND old.id = written.id AND old.revision = written.before AND old.attributes IS NOT NULL
                    AND old.identities IS NOT DISTINCT FROM written.identities
                OFFSET 0
            ) found
            WHERE written.before > 0
        ) r
        WHERE known.ctid = r.place;
        GET DIAGNOSTICS updated = ROW_COUNT;
        IF updated <> records_updated THEN
            RAISE EXCEPTION 'a record is not as expected' USING ERRCODE = 'RK001';
        END IF;
    END IF;
    IF cardinality(taken_name) > 0 THEN
        INSERT INTO @schema@.identities (log, generation, resource, name, value, owner)
        SELECT in_log, in_use, i.a, i.b, i.c, i.d
        FROM unnest(taken_resource, taken_name, taken_value, taken_owner) AS i(a, b, c, d);
    END IF;

    IF keys_are_new THEN
        INSERT INTO @schema@.keys (log, subject, version, epoch, body)
        SELECT in_log, k.a, k.b, k.c, k.d
        FROM unnest(key_subject, key_version, key_epoch, key_body) AS k(a, b, c, d);
        INSERT INTO @schema@.key_ids (log, id, subject)
        SELECT in_log, k.a, k.b
        FROM unnest(key_id, key_id_subject) AS k(a, b);
    ELSIF cardinality(key_subject) > 0 THEN
        INSERT INTO @schema@.keys AS known (log, subject, version, epoch, body)
        SELECT in_log, k.a, k.b, k.c, k.d
        FROM unnest(key_subject, key_version, key_epoch, key_body) AS k(a, b, c, d)
        ON CONFLICT (log, subject) DO UPDATE
        SET version = excluded.version, epoch = excluded.epoch, body = excluded.body;
        INSERT INTO @schema@.key_ids AS known (log, id, subject)
        SELECT in_log, k.a, k.b
        FROM unnest(key_id, key_id_subject) AS k(a, b)
        ON CONFLICT (log, id) DO UPDATE SET subject = excluded.subject;
    END IF;
END;
$$;

-- Removes a log with all that it has, and tells how many events that were. A tenant of '' is none.
CREATE FUNCTION @schema@.drop_log(log_name text, log_tenant text DEFAULT '') RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    dropped bigint;
    events bigint;
BEGIN
    SELECT l.id INTO dropped FROM @schema@.logs l WHERE l.name = log_name AND l.tenant = log_tenant FOR UPDATE;
    IF dropped IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM set_config('rekindle.dropping_log', 'yes', true);
    DELETE FROM @schema@.events e WHERE e.log = dropped;
    GET DIAGNOSTICS events = ROW_COUNT;
    PERFORM set_config('rekindle.dropping_log', '', true);
    DELETE FROM @schema@.records r WHERE r.log = dropped;
    DELETE FROM @schema@.identities i WHERE i.log = dropped;
    DELETE FROM @schema@.keys k WHERE k.log = dropped;
    DELETE FROM @schema@.key_ids k WHERE k.log = dropped;
    DELETE FROM @schema@.rebuilds b WHERE b.log = dropped;
    DELETE FROM @schema@.logs l WHERE l.id = dropped;
    RETURN events;
END;
$$;

REVOKE ALL ON FUNCTION @schema@.drop_log(text, text) FROM PUBLIC;
