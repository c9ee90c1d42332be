-- The logs, their events, their records and their keys.
--
-- Text that is compared or sorted is so by its bytes (COLLATE "C"). JSON is kept as the text that it was. Columns of fixed
-- width come first, so that no row has holes.

-- A log and its head. A tenant of '' is none. `version` counts every change to the log, whatever it is: who has read the log
-- at one version and writes under the same version knows that nothing came between.
CREATE TABLE @schema@.logs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version         bigint NOT NULL DEFAULT 0,
    position        bigint NOT NULL DEFAULT 0,
    generation      bigint NOT NULL DEFAULT 0,
    last_generation bigint NOT NULL DEFAULT 0,
    rewound_to      bigint,
    state           smallint NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)), -- live, rebuilding, rewound
    name            text COLLATE "C" NOT NULL,
    tenant          text COLLATE "C" NOT NULL,
    UNIQUE (name, tenant)
) WITH (fillfactor = 20); -- every commit updates the row of its log, in place as long as the page has room

-- An event. Each section is either text (JSON) or bytes (sealed).
CREATE TABLE @schema@.events (
    log                bigint NOT NULL,
    position           bigint NOT NULL,
    revision           bigint,
    occurred_at        bigint NOT NULL, -- microseconds since 1970
    version            bigint NOT NULL, -- of the action's input
    id                 uuid NOT NULL,
    action_type        smallint NOT NULL, -- 0 create, 1 update, 2 destroy
    resource           text COLLATE "C" NOT NULL,
    record_id          text COLLATE "C" NOT NULL,
    action             text COLLATE "C" NOT NULL,
    actor_kind         text COLLATE "C",
    actor_id           text COLLATE "C",
    data               text COLLATE "C",
    changed_attributes text COLLATE "C",
    metadata           text COLLATE "C",
    removed_attributes text COLLATE "C", -- a JSON array; null if it is empty
    sealed_data               bytea,
    sealed_changed_attributes bytea,
    sealed_metadata           bytea,
    PRIMARY KEY (log, position),
    UNIQUE (id, log)
);

CREATE INDEX events_by_record ON @schema@.events (log, resource, record_id, position);
CREATE INDEX events_by_actor ON @schema@.events (log, actor_kind, actor_id, position) WHERE actor_kind IS NOT NULL;
CREATE INDEX events_by_time ON @schema@.events (log, occurred_at, position);

-- A record, in one generation of its log. A destroyed one stays, without attributes, so that its revisions go on.
CREATE TABLE @schema@.records (
    log        bigint NOT NULL,
    generation bigint NOT NULL,
    revision   bigint NOT NULL,
    resource   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    attributes text COLLATE "C", -- a JSON object; null if the record is destroyed
    identities text COLLATE "C", -- a JSON array of names and values; null if there are none
    PRIMARY KEY (log, generation, resource, id)
) WITH (fillfactor = 85);

-- Who owns a unique value.
CREATE TABLE @schema@.identities (
    log        bigint NOT NULL,
    generation bigint NOT NULL,
    resource   text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    value      text COLLATE "C" NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    PRIMARY KEY (log, generation, resource, name, value)
);

-- The keys of a subject, wrapped. `epoch` counts the changes after which nothing may be sealed as before.
CREATE TABLE @schema@.keys (
    log     bigint NOT NULL,
    version bigint NOT NULL,
    epoch   bigint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (log, subject)
);

-- In whose row a key is, or was.
CREATE TABLE @schema@.key_ids (
    log     bigint NOT NULL,
    id      bytea NOT NULL,
    subject text COLLATE "C" NOT NULL,
    PRIMARY KEY (log, id)
);

-- A row to lock while a log is rebuilt, where there are no advisory locks.
CREATE TABLE @schema@.rebuilds (
    log bigint PRIMARY KEY
);

-- Events are written once. Only `drop_log` removes them, with their log.
CREATE FUNCTION @schema@.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('rekindle.dropping_log', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'events are never changed: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'RK002', HINT = 'A whole log is removed by the function drop_log(name, tenant).';
END;
$$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON @schema@.events
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
