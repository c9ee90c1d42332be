//! Where the vault's keys are.

use async_trait::async_trait;
use rekindle_core::store::KeyStore;
use rekindle_core::types::{KeyId, KeyRow, LogId, Page, Subject};
use rekindle_core::{Error, Result};
use sqlx::postgres::PgRow;

use crate::PostgresBackend;
use crate::error::damaged;
use crate::rows::{self, Columns};
use crate::store::tenant;

/// Rows by their places, which are their first column.
fn placed(
    rows: &[PgRow],
    count: usize,
    decode: impl Fn(usize, Columns<'_>) -> Result<KeyRow>,
) -> Result<Vec<Option<KeyRow>>> {
    let mut placed = vec![None; count];
    for row in rows {
        let columns = Columns(row);
        let place = columns.place(0)?;
        let slot = placed.get_mut(place).ok_or_else(|| damaged("a row is of nothing that was asked for"))?;
        *slot = Some(decode(place, columns)?);
    }
    Ok(placed)
}

#[async_trait]
impl KeyStore for PostgresBackend {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        let texts: Vec<&str> = subjects.iter().map(Subject::as_str).collect();
        let query = sqlx::query(self.store.sql.keys()).bind(log.name.as_str()).bind(tenant(log)).bind(texts);
        let rows = self.store.read(query).await?;
        placed(&rows, subjects.len(), |_, columns| rows::keys(columns, 1))
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let bytes: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
        let query = sqlx::query(self.store.sql.keys_by_id()).bind(log.name.as_str()).bind(tenant(log)).bind(bytes);
        let rows = self.store.read(query).await?;
        placed(&rows, ids.len(), |place, columns| {
            if columns.is_null(2)? {
                let (subject, id) = (columns.text(1)?, ids.get(place).map(KeyId::to_string).unwrap_or_default());
                return Err(damaged(format!("the key {id} is one of {subject}, which has none")));
            }
            rows::keys(columns, 1)
        })
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        let limit = limit.min(self.store.config.limits.page_rows);
        if limit == 0 {
            return Ok(Page::empty());
        }
        let query = sqlx::query(self.store.sql.list_keys())
            .bind(log.name.as_str())
            .bind(tenant(log))
            // Every subject is above the empty text, which is none.
            .bind(after.map_or("", Subject::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.store.read(query).await?;
        let items: Vec<KeyRow> = rows.iter().map(|row| rows::keys(Columns(row), 0)).collect::<Result<_>>()?;
        let next = items.last().filter(|_| items.len() == limit).map(|row| row.subject.clone());
        Ok(Page { items, next })
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        let rows = self.store.read(sqlx::query(self.store.sql.logs_with_keys())).await?;
        let log = |row: &PgRow| {
            let columns = Columns(row);
            let log = LogId::new(columns.text(0)?)?;
            match columns.text(1)? {
                "" => Ok(log),
                tenant => log.with_tenant(tenant),
            }
        };
        rows.iter()
            .map(|row| {
                log(row).map_err(|error: Error| damaged("the name of a log cannot be decoded").with_source(error))
            })
            .collect()
    }
}
