//! Rows as the server takes them at the least cost: one list of a composite type, in its binary format.
//!
//! The server takes every list that it is given apart into a table of its own. So lists of columns cost it a table for each
//! column, and then it puts them together again.
//!
//! The formats are those of `array_recv` and `record_recv` (PostgreSQL, `src/backend/utils/adt/arrayfuncs.c` and `rowtypes.c`).

use rekindle_core::{Error, ErrorKind, Result};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, PgConnection, Postgres, Type};
use uuid::Uuid;

use crate::config::Schema;
use crate::sql::Sql;

/// The composite types that `append_batch` takes lists of: their numbers in this database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowTypes {
    pub(crate) event: Oid,
    pub(crate) record: Oid,
}

impl RowTypes {
    /// Reads them; `None` if they are not there.
    pub(crate) async fn read(
        connection: &mut PgConnection,
        sql: &Sql,
        schema: &Schema,
    ) -> Result<Option<Self>, sqlx::Error> {
        let query = sqlx::query_as(sql.row_types()).bind(schema.as_str());
        let found: Option<(Option<Oid>, Option<Oid>)> = query.fetch_optional(connection).await?;
        Ok(found.and_then(|(event, record)| Some(Self { event: event?, record: record? })))
    }
}

// The numbers of the server's own types (`src/include/catalog/pg_type.dat`).
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const TEXT: u32 = 25;
const UUID: u32 = 2950;

/// The length of a column that is null.
const NULL: i32 = -1;

/// A list of rows, bound as one argument. An empty one is null.
pub(crate) struct RowList {
    of: Oid,
    rows: i32,
    bytes: Vec<u8>,
}

impl RowList {
    /// No row yet, with room for so many bytes.
    pub(crate) fn with_capacity(of: Oid, bytes: usize) -> Self {
        Self { of, rows: 0, bytes: Vec::with_capacity(bytes) }
    }

    /// Adds a row, of the columns that are written to it, in the order of its type.
    ///
    /// # Errors
    ///
    /// `TooLarge` beyond what the server takes, and those of `write`. The list is to be thrown away then.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Row<'_>) -> Result<()>) -> Result<()> {
        let begin = self.bytes.len();
        // Its length and the number of its columns come first, and are known in the end.
        self.bytes.extend([0; 8]);
        let mut row = Row { columns: 0, bytes: &mut self.bytes };
        write(&mut row)?;
        let columns = row.columns;
        let length = length_of(self.bytes.len() - begin - 4)?;
        if let Some(head) = self.bytes.get_mut(begin..begin + 8) {
            head[..4].copy_from_slice(&length.to_be_bytes());
            head[4..].copy_from_slice(&columns.to_be_bytes());
        }
        self.rows += 1;
        Ok(())
    }
}

/// A row that is being written.
pub(crate) struct Row<'a> {
    columns: i32,
    bytes: &'a mut Vec<u8>,
}

impl Row<'_> {
    pub(crate) fn int8(&mut self, value: i64) -> Result<()> {
        self.int8_or_null(Some(value))
    }

    pub(crate) fn int8_or_null(&mut self, value: Option<i64>) -> Result<()> {
        self.column(INT8, value.map(i64::to_be_bytes).as_ref().map(|bytes| &bytes[..]))
    }

    pub(crate) fn int2(&mut self, value: i16) -> Result<()> {
        self.column(INT2, Some(&value.to_be_bytes()))
    }

    pub(crate) fn uuid(&mut self, value: &Uuid) -> Result<()> {
        self.column(UUID, Some(value.as_bytes()))
    }

    pub(crate) fn text(&mut self, value: &str) -> Result<()> {
        self.text_or_null(Some(value))
    }

    pub(crate) fn text_or_null(&mut self, value: Option<&str>) -> Result<()> {
        self.column(TEXT, value.map(str::as_bytes))
    }

    pub(crate) fn bytes_or_null(&mut self, value: Option<&[u8]>) -> Result<()> {
        self.column(BYTEA, value)
    }

    fn column(&mut self, of: u32, value: Option<&[u8]>) -> Result<()> {
        let length = value.map_or(Ok(NULL), |value| length_of(value.len()))?;
        let mut head = [0; 8];
        head[..4].copy_from_slice(&of.to_be_bytes());
        head[4..].copy_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.columns += 1;
        Ok(())
    }
}

fn length_of(bytes: usize) -> Result<i32> {
    i32::try_from(bytes).map_err(|_| Error::new(ErrorKind::TooLarge, format!("{bytes} bytes are too large for a row")))
}

impl Type<Postgres> for RowList {
    /// Told by the function that takes the list: the server finds it out.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for RowList {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        if self.rows == 0 {
            return Ok(IsNull::Yes);
        }
        // One dimension, no row that is null, of this type, so many, counted from 1.
        let head = [1, 0, self.of.0.cast_signed(), self.rows, 1];
        head.iter().for_each(|number| buffer.extend(number.to_be_bytes()));
        buffer.extend(&self.bytes);
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::store::EventStoreExt;
    use rekindle_core::types::{
        ActionName, ActionType, Change, Commit, EventId, Expected, Json, LockKey, LogId, NewEvent, Payload, Position,
        RecordKey, RecordWrite, Timestamp, WriteState,
    };
    use sqlx::{AssertSqlSafe, Connection, Executor};

    use super::*;
    use crate::{PostgresBackend, PostgresConfig};

    /// Every kind of value, and none, as the server's own casts see them.
    #[tokio::test]
    async fn the_server_reads_the_rows_that_were_written() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let config = PostgresConfig::new().with_schema(server.fresh_schema()).unwrap();
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        let backend = PostgresBackend::connect_with(server.url(), config.clone()).await.unwrap();
        let RowTypes { event, .. } = *backend.store.row_types.lock().unwrap();
        let id = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        let mut list = RowList::with_capacity(event, 0);
        for (number, text, bytes) in [(None, None, None), (Some(i64::MIN), Some("é\"{},("), Some(&[0, 255][..]))] {
            list.add(|row| {
                row.int8_or_null(number)?;
                row.int8(i64::MAX)?;
                row.int8(-1)?;
                row.uuid(&id)?;
                row.int2(i16::MIN)?;
                (0..2).try_for_each(|_| row.text(""))?;
                (0..7).try_for_each(|_| row.text_or_null(text))?;
                (0..3).try_for_each(|_| row.bytes_or_null(bytes))
            })
            .unwrap();
        }
        let text = format!("SELECT unnest($1::{}.event_row[])::text", config.schema.quoted());
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let read: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(text)).bind(list).fetch_all(&mut connection).await.unwrap();
        let fixed = format!("9223372036854775807,-1,{id},-32768,\"\",\"\"");
        let [text, bytes] = [r#""é""{},(""#, r#""\\x00ff""#].map(|value| [value; 7].join(","));
        let bytes = bytes.split(',').take(3).collect::<Vec<_>>().join(",");
        assert_eq!(read, [format!("(,{fixed},,,,,,,,,,)"), format!("(-9223372036854775808,{fixed},{text},{bytes})")]);
    }

    #[tokio::test]
    async fn a_list_without_rows_is_null() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let list = RowList::with_capacity(Oid(TEXT), 0);
        let is_null: bool =
            sqlx::query_scalar("SELECT $1::text[] IS NULL").bind(list).fetch_one(&mut connection).await.unwrap();
        assert!(is_null);
    }

    /// A commit of one event and one record.
    fn create(id: &str) -> Commit {
        let key = RecordKey::new("note", id).unwrap();
        let event = NewEvent {
            id: EventId::generate(),
            resource: key.resource.clone(),
            record_id: key.id.clone(),
            action: ActionName::new("write").unwrap(),
            action_type: ActionType::Create,
            version: 1,
            actor: None,
            data: Payload::empty(),
            changed_attributes: Payload::empty(),
            removed_attributes: Vec::new(),
            metadata: Payload::empty(),
            occurred_at: Timestamp::EPOCH,
        };
        let state = Some(WriteState { attributes: Json::empty(), identities: Vec::new() });
        let write = RecordWrite { key, expected: Expected::Absent, state };
        let mut commit = Commit::new(LogId::new("main").unwrap(), LockKey::One(1));
        commit.changes.push(Change { event: Some(event), write: Some(write) });
        commit
    }

    #[tokio::test]
    async fn a_schema_that_is_made_anew_under_an_open_backend_is_met_without_an_error() {
        let Some(server) = rekindle_test_servers::postgres() else { return };
        let config = PostgresConfig::new().with_schema(server.fresh_schema()).unwrap();
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        let backend = PostgresBackend::connect_with(server.url(), config.clone()).await.unwrap();
        let put = |id: &str| backend.commit_one(create(id));
        let types = || *backend.store.row_types.lock().unwrap();
        for id in ["a", "b", "c"] {
            put(id).await.unwrap();
        }
        let before = types();

        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let drop = AssertSqlSafe(format!("DROP SCHEMA {} CASCADE", config.schema.quoted()));
        connection.execute(drop).await.unwrap();
        PostgresBackend::migrate(server.url(), &config).await.unwrap();
        for (position, id) in (1..).zip(["a", "b", "c", "d", "e"]) {
            assert_eq!(put(id).await.unwrap().events[0].position, Position::new(position));
        }
        let read = RowTypes::read(&mut connection, &backend.store.sql, &config.schema).await.unwrap().unwrap();
        assert_eq!((types().event, types().record), (read.event, read.record));
        assert_ne!((types().event, types().record), (before.event, before.record));
    }
}
