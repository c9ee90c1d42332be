//! The schema: its migrations, and what the database itself refuses and shows.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{commit, config, create, creation, key, log, open, server};
use rekindle_core::ErrorKind;
use rekindle_core::store::{EventStore, EventStoreExt};
use rekindle_core::types::{ActionName, ActionType, Actor, EventId, EventQuery, Order, Position, Timestamp};
use rekindle_postgres::{PostgresBackend, PostgresConfig};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

async fn connection() -> PgConnection {
    PgConnection::connect(server().url()).await.unwrap()
}

fn in_schema(text: &str, config: &PostgresConfig) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.replace('@', &config.schema.quoted()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_race_safely() {
    let config = config(server());
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { PostgresBackend::migrate(server().url(), &config).await })
        })
        .collect();
    let mut made = 0;
    for racer in racers {
        made += racer.await.unwrap().unwrap();
    }
    assert_eq!(made, PostgresBackend::migrations(&config).len(), "each migration is made once");
    let store = PostgresBackend::connect_with(server().url(), config).await.unwrap();
    store.commit_one(creation("a")).await.unwrap();
}

#[tokio::test]
async fn migrations_race_safely_without_advisory_locks() {
    let config = config(server()).with_lock_mode(rekindle_postgres::LockMode::Row);
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { PostgresBackend::migrate(server().url(), &config).await })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap().unwrap();
    }
    PostgresBackend::connect_with(server().url(), config).await.unwrap();
}

#[tokio::test]
async fn a_schema_without_the_types_of_rows_is_told() {
    let config = config(server());
    PostgresBackend::migrate(server().url(), &config).await.unwrap();
    let drop = in_schema("DROP TYPE @.event_row CASCADE", &config);
    connection().await.execute(drop).await.unwrap();
    let error = PostgresBackend::connect_with(server().url(), config).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    let message = "the schema lacks the types event_row and record_row, which its migrations make";
    assert_eq!(error.message(), message);
}

#[tokio::test]
async fn a_missing_migration_is_named() {
    let config = config(server());
    let error = PostgresBackend::connect_with(server().url(), config.clone()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    for name in ["0001_tables", "0002_functions", "0003_views", "PostgresBackend::migrate"] {
        assert!(error.message().contains(name), "{error}");
    }
    // By hand, but for the last one.
    let mut connection = connection().await;
    let migrations = PostgresBackend::migrations(&config);
    let (last, others) = migrations.split_last().unwrap();
    for migration in others {
        connection.execute(AssertSqlSafe(migration.sql.clone())).await.unwrap();
    }
    let error = PostgresBackend::connect_with(server().url(), config.clone()).await.unwrap_err();
    assert!(error.message().contains("the migration 0003_views:"), "{error}");
    assert_eq!(PostgresBackend::migrate(server().url(), &config).await.unwrap(), 1);
    assert_eq!(last.number, 3);
    PostgresBackend::connect_with(server().url(), config.clone()).await.unwrap();
    // A newer one is not touched.
    let newer = in_schema("INSERT INTO @.migrations (number, name) VALUES (9, 'newer')", &config);
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    for error in [
        PostgresBackend::connect_with(server().url(), config.clone()).await.unwrap_err(),
        PostgresBackend::migrate(server().url(), &config).await.unwrap_err(),
    ] {
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("0009"), "{error}");
    }
}

#[tokio::test]
async fn a_schema_with_a_strange_name_works() {
    let name = format!("my \"own\" {}", server().fresh_schema());
    let config = PostgresConfig::new().with_schema(name).unwrap();
    let store = open(server(), &config).await;
    store.commit_one(creation("a")).await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
}

#[tokio::test]
async fn a_wrong_url_is_invalid_and_no_password_is_told() {
    for url in ["postgres://ada:secret@/", "nonsense", "postgres://ada:secret@localhost:0/x"] {
        let config = PostgresConfig::new().with_acquire_timeout(std::time::Duration::from_millis(200));
        let error = PostgresBackend::connect_with(url, config).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn events_refuse_to_be_changed_and_a_log_can_be_dropped() {
    let config = config(server());
    let store = open(server(), &config).await;
    store.commit_one(creation("a")).await.unwrap();
    let other = log().with_tenant("other").unwrap();
    let mut elsewhere = creation("a");
    elsewhere.log = other.clone();
    store.commit_one(elsewhere).await.unwrap();
    let mut connection = connection().await;
    for change in ["UPDATE @.events SET version = 2", "DELETE FROM @.events", "TRUNCATE @.events"] {
        let error = sqlx::query(in_schema(change, &config)).execute(&mut connection).await.unwrap_err();
        let error = error.as_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("RK002"), "{change}: {error}");
    }
    assert_eq!(store.read(&log(), &EventQuery::new()).await.unwrap().items.len(), 1);
    let dropped =
        sqlx::query(in_schema("SELECT @.drop_log('main')", &config)).fetch_one(&mut connection).await.unwrap();
    assert_eq!(dropped.get::<i64, _>(0), 1);
    assert_eq!(store.head(&log()).await.unwrap().position, Position::ZERO);
    assert_eq!(store.head(&other).await.unwrap().position, Position::new(1), "another log stays");
    // What the backend knew of the log is of no use any more, and the next commit finds that out.
    store.commit_one(creation("a")).await.unwrap();
    assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
    let error = sqlx::query(in_schema("DELETE FROM @.events", &config)).execute(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("never changed"), "dropping a log opens no door: {error}");
}

#[tokio::test]
async fn the_views_show_jsonb() {
    let config = config(server());
    let store = open(server(), &config).await;
    let mut change = create("a", r#"{"n":1,"text":"x\u0000y"}"#, None);
    change.event.as_mut().unwrap().occurred_at = Timestamp::from_microseconds(1_700_000_000_123_456).unwrap();
    store.commit_one(commit(vec![change])).await.unwrap();
    let mut early = create("b", r#"{"n":2}"#, None);
    early.event.as_mut().unwrap().occurred_at = Timestamp::min();
    early.event.as_mut().unwrap().actor = Some(Actor::new("user", 42).unwrap());
    early.event.as_mut().unwrap().removed_attributes = vec!["gone".to_owned()];
    store.commit_one(commit(vec![early])).await.unwrap();
    let mut connection = connection().await;
    let text =
        "SELECT position, action_type, occurred_at::text, (data ->> 'n')::int, actor_id, removed_attributes ->> 0
        FROM @.history ORDER BY position";
    connection.execute("SET timezone = 'UTC'").await.unwrap();
    let rows = sqlx::query(in_schema(text, &config)).fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows[0].get::<String, _>(1), "create");
    assert_eq!(rows[0].get::<String, _>(2), "2023-11-14 22:13:20.123456+00");
    assert_eq!(rows[0].get::<Option<i32>, _>(3), None, "JSONB cannot hold \\u0000, so it is null there");
    assert_eq!(rows[1].get::<String, _>(2), "-infinity");
    assert_eq!(rows[1].get::<Option<i32>, _>(3), Some(2));
    assert_eq!(rows[1].get::<Option<String>, _>(4).as_deref(), Some("42"));
    assert_eq!(rows[1].get::<Option<String>, _>(5).as_deref(), Some("gone"));
    let state = in_schema("SELECT id, (attributes ->> 'n')::int FROM @.state ORDER BY id", &config);
    let rows = sqlx::query(state).fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows[1].get::<Option<i32>, _>(1), Some(2));
}

async fn assert_plan(store: &PostgresBackend, index: &str, query: &EventQuery) {
    let plan = store.explain(query).await.unwrap().join("\n");
    assert!(plan.contains(&format!("using {index} on events ")), "{query:?} does not use {index}:\n{plan}");
    assert!(!plan.contains("Seq Scan on events"), "{plan}");
}

/// A page costs what is passed over for it; it never sorts all that is behind it.
async fn assert_no_sort(store: &PostgresBackend) {
    let (resource, action) = (key("77").resource, ActionName::new("place").unwrap());
    let actor = Actor::new("user", 7).unwrap();
    let queries = [
        EventQuery::new().with_resource(resource.clone()),
        EventQuery::new().with_action(action.clone()),
        EventQuery::new().with_action_type(ActionType::Update),
        EventQuery::new().with_resource(resource.clone()).with_action(action),
        EventQuery::new().with_resource(resource).with_actor(actor.clone()),
        EventQuery::new().with_record(key("77")).with_actor(actor),
    ];
    for order in [Order::Forward, Order::Backward] {
        for query in queries.clone().map(|query| query.with_order(order)) {
            let plan = store.explain(&query).await.unwrap().join("\n");
            assert!(!plan.contains("Sort") && !plan.contains("Seq Scan on events"), "{query:?}:\n{plan}");
        }
    }
}

/// On a schema that is empty, too: a plan that was made then is used until there are statistics.
#[tokio::test]
async fn each_index_is_used_by_its_query() {
    let config = config(server());
    let store = open(server(), &config).await;
    assert_no_sort(&store).await;
    let of_actor = || EventQuery::new().with_actor(Actor::new("user", 7).unwrap());
    let planned_once = [
        ("events_pkey", EventQuery::new()),
        ("events_pkey", EventQuery::new().with_after(Position::new(10_000))),
        ("events_id_log_key", EventQuery::new().with_id(EventId::generate())),
        ("events_id_log_key", of_actor().with_id(EventId::generate())),
        ("events_by_record", EventQuery::new().with_record(key("77"))),
        ("events_by_record", EventQuery::new().with_record(key("77")).with_action_type(ActionType::Update)),
        ("events_by_actor", of_actor()),
        ("events_by_actor", of_actor().with_action(ActionName::new("place").unwrap())),
    ];
    let backward = planned_once.clone().map(|(index, query)| (index, query.with_order(Order::Backward)));
    let planned_once: Vec<_> = planned_once.into_iter().chain(backward).collect();
    for (index, query) in &planned_once {
        assert_plan(&store, index, query).await;
    }
    store.commit_one(creation("a")).await.unwrap();
    // Many events, with statistics: 20,000 over 2,000 records and 100 actors, a second apart.
    let fill =
        "INSERT INTO @.events (log, position, occurred_at, version, id, action_type, resource, record_id, action,
            actor_kind, actor_id, data, changed_attributes, metadata)
        SELECT 1, i, i * 1000000::bigint, 1, gen_random_uuid(), 1, 'shop.order', (i % 2000)::text, 'place', 'user',
            (i % 100)::text, '{}', '{}', '{}'
        FROM generate_series(2, 20000) i";
    let mut connection = connection().await;
    sqlx::query(in_schema(fill, &config)).execute(&mut connection).await.unwrap();
    sqlx::query(in_schema("ANALYZE @.events", &config)).execute(&mut connection).await.unwrap();
    for (index, query) in &planned_once {
        assert_plan(&store, index, query).await;
    }
    assert_no_sort(&store).await;
    let span = |from: i64, until: i64| {
        let seconds = |seconds: i64| Timestamp::from_seconds(seconds).unwrap();
        EventQuery::new().with_occurred_from(seconds(from)).with_occurred_until(seconds(until))
    };
    assert_plan(&store, "events_by_time", &span(10_000, 10_010)).await;
    assert_plan(&store, "events_pkey", &span(1, 100_000)).await;
}

async fn assert_ordered(store: &PostgresBackend) {
    for (order, scan) in [(Order::Forward, "Index Scan using"), (Order::Backward, "Index Scan Backward using")] {
        let plan = store.explain_records(order).await.unwrap().join("\n");
        assert!(plan.contains(&format!("{scan} records_pkey on records known")), "{order:?}:\n{plan}");
    }
}

#[tokio::test]
async fn a_page_of_records_is_read_in_the_order_of_their_key() {
    let config = config(server());
    let store = open(server(), &config).await;
    assert_ordered(&store).await;
    store.commit_one(creation("a")).await.unwrap();
    let mut connection = connection().await;
    let fill = "INSERT INTO @.records (log, generation, revision, resource, id, attributes)
        SELECT 1, 0, 1, 'shop.order', md5(i::text), '{}' FROM generate_series(1, 20000) i";
    sqlx::query(in_schema(fill, &config)).execute(&mut connection).await.unwrap();
    sqlx::query(in_schema("ANALYZE @.records", &config)).execute(&mut connection).await.unwrap();
    assert_ordered(&store).await;
}

#[tokio::test]
async fn an_event_that_is_missing_is_damage() {
    let config = config(server());
    let store = open(server(), &config).await;
    for id in ["a", "b", "c"] {
        store.commit_one(creation(id)).await.unwrap();
    }
    let mut connection = connection().await;
    let damage = "ALTER TABLE @.events DISABLE TRIGGER USER; DELETE FROM @.events WHERE position = 2;
        ALTER TABLE @.events ENABLE TRIGGER USER";
    connection.execute(in_schema(damage, &config)).await.unwrap();
    let error = store.read(&log(), &EventQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("position 2"), "{error}");
}
