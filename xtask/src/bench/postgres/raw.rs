//! Plain SQL that writes the rows that Rekindle wrote, and does nothing else: no checks, no answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rekindle_test_servers::Postgres;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::super::group::{self, Writer};
use super::super::report::Result;
use super::connect;

/// The rows of many commits, each of one event and one record.
pub(super) struct Rows {
    commits: Vec<OneCommit>,
}

struct OneCommit {
    revision: Option<i64>,
    occurred_at: i64,
    version: i64,
    id: Uuid,
    action_type: i16,
    resource: String,
    record_id: String,
    action: String,
    actor_kind: Option<String>,
    actor_id: Option<String>,
    data: Option<String>,
    changed: Option<String>,
    metadata: Option<String>,
    removed: Option<String>,
    attributes: String,
    identities: Option<String>,
}

impl OneCommit {
    fn of(row: &PgRow) -> Result<Self> {
        Ok(Self {
            revision: row.try_get(0)?,
            occurred_at: row.try_get(1)?,
            version: row.try_get(2)?,
            id: row.try_get(3)?,
            action_type: row.try_get(4)?,
            resource: row.try_get(5)?,
            record_id: row.try_get(6)?,
            action: row.try_get(7)?,
            actor_kind: row.try_get(8)?,
            actor_id: row.try_get(9)?,
            data: row.try_get(10)?,
            changed: row.try_get(11)?,
            metadata: row.try_get(12)?,
            removed: row.try_get(13)?,
            attributes: row.try_get(14)?,
            identities: row.try_get(15)?,
        })
    }
}

type Sql<T> = std::result::Result<T, sqlx::Error>;

const READ: &str =
    "SELECT e.revision, e.occurred_at, e.version, e.id, e.action_type, e.resource, e.record_id, e.action,
    e.actor_kind, e.actor_id, e.data, e.changed_attributes, e.metadata, e.removed_attributes, r.attributes, r.identities
FROM @.events e JOIN @.logs l ON l.id = e.log
JOIN @.records r ON r.log = l.id AND r.generation = l.generation AND r.resource = e.resource AND r.id = e.record_id
ORDER BY e.position";

/// All of a batch in one statement, so in one round trip and one transaction; by lists of columns, which are what sqlx binds.
const GROUP: &str = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(2147483647)),
head AS (UPDATE @.logs SET position = position + cardinality($1::bigint[]) FROM locked WHERE id = 1
    RETURNING id, position - cardinality($1::bigint[]) AS before),
event AS (INSERT INTO @.events (log, position, revision, occurred_at, version, id, action_type, resource, record_id,
        action, actor_kind, actor_id, data, changed_attributes, metadata, removed_attributes)
    SELECT head.id, head.before + e.p, e.a, e.b, e.c, e.d, e.e, e.f, e.g, e.h, e.i, e.j, e.k, e.l, e.m, e.n
    FROM head, unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::smallint[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
        WITH ORDINALITY AS e(a, b, c, d, e, f, g, h, i, j, k, l, m, n, p))
INSERT INTO @.records (log, generation, revision, resource, id, attributes, identities)
SELECT head.id, 0, r.a, r.b, r.c, r.d, r.e
FROM head, unnest($1::bigint[], $6::text[], $7::text[], $15::text[], $16::text[]) AS r(a, b, c, d, e)";

/// One commit by the naive way: a transaction, and a statement for each thing.
const NAIVE: [&str; 5] = [
    "SELECT pg_advisory_xact_lock(2147483647)",
    "SELECT position FROM @.logs WHERE id = 1",
    "INSERT INTO @.events (log, position, revision, occurred_at, version, id, action_type, resource, record_id, action,
        actor_kind, actor_id, data, changed_attributes, metadata, removed_attributes)
    VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    "INSERT INTO @.records (log, generation, revision, resource, id, attributes, identities)
    VALUES (1, 0, $1, $2, $3, $4, $5)",
    "UPDATE @.logs SET position = $1 WHERE id = 1",
];

fn statement(text: &str, schema: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.replace('@', &format!("\"{schema}\"")))
}

impl Rows {
    /// Reads what Rekindle wrote.
    pub(super) async fn read(server: &Postgres, schema: &str) -> Result<Self> {
        let rows = sqlx::query(statement(READ, schema)).fetch_all(&mut connect(server).await?).await?;
        Ok(Self { commits: rows.iter().map(OneCommit::of).collect::<Result<_>>()? })
    }

    /// A schema with Rekindle's tables, and a log without events.
    pub(super) async fn empty(server: &Postgres) -> Result<String> {
        let schema = server.fresh_schema();
        drop(super::backend(server.url(), &schema).await?);
        let log = statement("INSERT INTO @.logs (name, tenant) VALUES ('main', '')", &schema);
        sqlx::query(log).execute(&mut connect(server).await?).await?;
        Ok(schema)
    }

    /// Writes them all, `group` of them in each statement; gives the time without that of the warm-up.
    pub(super) async fn write(&self, server: &Postgres, warm_up: usize, group: usize) -> Result<Duration> {
        let schema = Self::empty(server).await?;
        let mut connection = connect(server).await?;
        let group_statement = group_statement(&schema);
        let (first, others) = self.commits.split_at(warm_up);
        let mut started = Instant::now();
        for commits in [first, others] {
            started = Instant::now();
            for group in commits.chunks(group) {
                write_group(&mut connection, &group_statement, &group.iter().collect::<Vec<_>>()).await?;
            }
        }
        let took = started.elapsed();
        super::drop_schema(server, &schema).await?;
        Ok(took)
    }

    /// Writes them all for so many callers by group commit: one statement for those that wait. Gives the time without that of
    /// the warm-up.
    pub(super) async fn write_for_callers(
        self: &Arc<Self>,
        server: &Postgres,
        warm_up: usize,
        callers: usize,
    ) -> Result<Duration> {
        let schema = Self::empty(server).await?;
        let (rows, connection) = (Arc::clone(self), connect(server).await?);
        let writer = Grouped { rows, connection, text: group_statement(&schema) };
        let took = group::commit(self.commits.len(), warm_up, callers, writer).await?;
        super::drop_schema(server, &schema).await?;
        Ok(took)
    }

    /// Writes the first `commits` one by one, as so many callers do it the naive way, over a pool of 32 at the most.
    pub(super) async fn naive(self: &Arc<Self>, server: &Postgres, commits: usize, callers: usize) -> Result<Duration> {
        let schema = Self::empty(server).await?;
        let pool = PgPoolOptions::new().max_connections(callers.min(32) as u32).connect(server.url()).await?;
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (rows, pool, next, schema) = (Arc::clone(self), pool.clone(), Arc::clone(&next), schema.clone());
                tokio::spawn(async move {
                    let statements = NAIVE.map(|text| statement(text, &schema).0);
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(commit) = rows.commits[..commits].get(at) else { return Sql::Ok(()) };
                        naive_commit(&pool, &statements, commit).await?;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let took = started.elapsed();
        pool.close().await;
        super::drop_schema(server, &schema).await?;
        Ok(took)
    }
}

struct Grouped {
    rows: Arc<Rows>,
    connection: PgConnection,
    text: Arc<str>,
}

impl Writer for Grouped {
    async fn write(&mut self, _: usize, group: &[usize]) -> std::result::Result<(), String> {
        let group: Vec<&OneCommit> = group.iter().map(|at| &self.rows.commits[*at]).collect();
        write_group(&mut self.connection, &self.text, &group).await.map_err(|error| error.to_string())
    }
}

async fn naive_commit(pool: &sqlx::PgPool, statements: &[String; 5], commit: &OneCommit) -> Sql<()> {
    let [lock, head, event, record, update] = statements.each_ref().map(|text| AssertSqlSafe(text.clone()));
    let mut transaction = pool.begin().await?;
    sqlx::query(lock).execute(&mut *transaction).await?;
    let position: i64 = sqlx::query(head).fetch_one(&mut *transaction).await?.try_get(0)?;
    sqlx::query(event)
        .bind(position + 1)
        .bind(commit.revision)
        .bind(commit.occurred_at)
        .bind(commit.version)
        .bind(commit.id)
        .bind(commit.action_type)
        .bind(&commit.resource)
        .bind(&commit.record_id)
        .bind(&commit.action)
        .bind(&commit.actor_kind)
        .bind(&commit.actor_id)
        .bind(&commit.data)
        .bind(&commit.changed)
        .bind(&commit.metadata)
        .bind(&commit.removed)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(record)
        .bind(commit.revision)
        .bind(&commit.resource)
        .bind(&commit.record_id)
        .bind(&commit.attributes)
        .bind(&commit.identities)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(update).bind(position + 1).execute(&mut *transaction).await?;
    transaction.commit().await
}

fn group_statement(schema: &str) -> Arc<str> {
    statement(GROUP, schema).0.into()
}

async fn write_group(connection: &mut PgConnection, text: &Arc<str>, group: &[&OneCommit]) -> Sql<()> {
    fn texts<'a>(group: &[&'a OneCommit], part: impl Fn(&'a OneCommit) -> &'a str) -> Vec<&'a str> {
        group.iter().map(|commit| part(commit)).collect()
    }
    fn maybe<'a>(group: &[&'a OneCommit], part: impl Fn(&'a OneCommit) -> &'a Option<String>) -> Vec<Option<&'a str>> {
        group.iter().map(|commit| part(commit).as_deref()).collect()
    }
    sqlx::query(AssertSqlSafe(Arc::clone(text)))
        .bind(group.iter().map(|commit| commit.revision).collect::<Vec<_>>())
        .bind(group.iter().map(|commit| commit.occurred_at).collect::<Vec<_>>())
        .bind(group.iter().map(|commit| commit.version).collect::<Vec<_>>())
        .bind(group.iter().map(|commit| commit.id).collect::<Vec<_>>())
        .bind(group.iter().map(|commit| commit.action_type).collect::<Vec<_>>())
        .bind(texts(group, |commit| &commit.resource))
        .bind(texts(group, |commit| &commit.record_id))
        .bind(texts(group, |commit| &commit.action))
        .bind(maybe(group, |commit| &commit.actor_kind))
        .bind(maybe(group, |commit| &commit.actor_id))
        .bind(maybe(group, |commit| &commit.data))
        .bind(maybe(group, |commit| &commit.changed))
        .bind(maybe(group, |commit| &commit.metadata))
        .bind(maybe(group, |commit| &commit.removed))
        .bind(texts(group, |commit| &commit.attributes))
        .bind(maybe(group, |commit| &commit.identities))
        .execute(connection)
        .await?;
    Ok(())
}
