//! Making the schema, and checking it.

use rekindle_core::{Error, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::config::{LockMode, PostgresConfig, Schema};
use crate::error::{broken_off, classify, in_commit, is_made_twice, is_missing};
use crate::rows::Columns;
use crate::sql::{Sql, of_schema};

/// A step of the schema.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Migration {
    /// Its number, from 1 on.
    pub number: u32,
    /// What it makes.
    pub name: &'static str,
    /// Its SQL: several statements, to be run in one transaction. The first one makes the schema, too; each one notes that it
    /// was made.
    pub sql: String,
}

const EMBEDDED: &[(u32, &str, &str)] = &[
    (1, "tables", include_str!("../migrations/0001_tables.sql")),
    (2, "functions", include_str!("../migrations/0002_functions.sql")),
    (3, "views", include_str!("../migrations/0003_views.sql")),
];

/// What notes which migrations were made.
const FIRST: &str = "CREATE SCHEMA IF NOT EXISTS @schema@;

CREATE TABLE IF NOT EXISTS @schema@.migrations (
    number  integer PRIMARY KEY,
    name    text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

";

/// How often a race is run again that was lost where no lock can be taken beforehand.
const RACES: usize = 10;

pub(crate) fn all(schema: &Schema) -> Vec<Migration> {
    let migration = |&(number, name, text): &(u32, &'static str, &str)| {
        let first = if number == 1 { FIRST } else { "" };
        let noted = format!("\nINSERT INTO @schema@.migrations (number, name) VALUES ({number}, '{name}');\n");
        Migration { number, name, sql: of_schema(&format!("{first}{text}{noted}"), schema) }
    };
    EMBEDDED.iter().map(migration).collect()
}

/// Makes what is missing, in one transaction, in a task of its own.
pub(crate) async fn run(mut connection: PgConnection, config: &PostgresConfig) -> Result<usize> {
    let (schema, mode) = (config.schema.clone(), config.lock_mode);
    let task = tokio::spawn(async move {
        let mut races = 0;
        loop {
            match missing_made(&mut connection, &schema, mode).await {
                Err(Outcome::Lost(error)) if races < RACES && is_made_twice(&error) => {
                    races += 1;
                    connection.execute("ROLLBACK").await.map_err(classify)?;
                }
                Err(Outcome::Lost(error)) => return Err(classify(error)),
                Err(Outcome::Failed(error)) => return Err(error),
                Ok(made) => return Ok(made),
            }
        }
    });
    task.await.map_err(broken_off)?
}

enum Outcome {
    /// The server refused a statement; perhaps because somebody else makes the same.
    Lost(sqlx::Error),
    Failed(Error),
}

async fn missing_made(connection: &mut PgConnection, schema: &Schema, mode: LockMode) -> Result<usize, Outcome> {
    connection.execute("BEGIN").await.map_err(Outcome::Lost)?;
    if mode == LockMode::Advisory {
        let lock = crate::rebuild::key_of(&format!("migrate {schema}"));
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(lock)
            .execute(&mut *connection)
            .await
            .map_err(Outcome::Lost)?;
    }
    connection.execute(AssertSqlSafe(of_schema(FIRST, schema))).await.map_err(Outcome::Lost)?;
    if mode == LockMode::Row {
        let lock = of_schema("LOCK TABLE @schema@.migrations IN EXCLUSIVE MODE", schema);
        connection.execute(AssertSqlSafe(lock)).await.map_err(Outcome::Lost)?;
    }
    let made = made(connection, &Sql::new(schema)).await.map_err(Outcome::Lost)?.map_err(Outcome::Failed)?;
    check_newer(&made, schema).map_err(Outcome::Failed)?;
    let mut count = 0;
    for migration in all(schema) {
        if !made.contains(&migration.number) {
            connection.execute(AssertSqlSafe(migration.sql)).await.map_err(Outcome::Lost)?;
            count += 1;
        }
    }
    connection.execute("COMMIT").await.map_err(|error| Outcome::Failed(in_commit(error)))?;
    Ok(count)
}

/// The numbers of the migrations that were made.
async fn made(connection: &mut PgConnection, sql: &Sql) -> Result<Result<Vec<u32>>, sqlx::Error> {
    let rows = sqlx::query(sql.migrations()).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| Ok(u32::try_from(Columns(row).int4(0)?).unwrap_or(0))).collect())
}

/// Sees to it that the schema is the one of this version.
pub(crate) async fn check(connection: &mut PgConnection, sql: &Sql, schema: &Schema) -> Result<()> {
    let made = match made(connection, sql).await {
        Ok(made) => made?,
        Err(error) if is_missing(&error) => Vec::new(),
        Err(error) => return Err(classify(error)),
    };
    check_newer(&made, schema)?;
    let missing: Vec<_> = EMBEDDED
        .iter()
        .filter(|(number, ..)| !made.contains(number))
        .map(|(number, name, _)| format!("{number:04}_{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the schema {schema} lacks the migration{} {}: call PostgresBackend::migrate, or run what PostgresBackend::migrations \
         gives",
        if missing.len() == 1 { "" } else { "s" },
        missing.join(", ")
    )))
}

fn check_newer(made: &[u32], schema: &Schema) -> Result<()> {
    let last = EMBEDDED.last().map_or(0, |(number, ..)| *number);
    match made.iter().max() {
        Some(&newest) if newest > last => Err(Error::invalid(format!(
            "the schema {schema} has the migration {newest:04}; this version of Rekindle knows them up to {last:04}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_1_on_and_have_the_schema_in_them() {
        let all = all(&Schema::new("it's").unwrap());
        for (migration, number) in all.iter().zip(1..) {
            assert_eq!(migration.number, number);
            assert!(migration.sql.contains("\"it's\".") && !migration.sql.contains('@'), "{}", migration.sql);
        }
    }
}
