//! The binary format of COPY: <https://www.postgresql.org/docs/current/sql-copy.html>.

use sqlx::PgConnection;

/// So much is sent at a time.
const CHUNK: usize = 1 << 20;

/// Rows on their way into a table.
pub(crate) struct Copy<'a> {
    into: sqlx::postgres::PgCopyIn<&'a mut PgConnection>,
    buffer: Vec<u8>,
}

/// A column of a row.
pub(crate) enum Column<'a> {
    Int8(i64),
    Text(&'a str),
    Null,
}

impl<'a> From<Option<&'a str>> for Column<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

impl<'a> Copy<'a> {
    /// Begins to copy. It must be finished.
    pub(crate) async fn begin(connection: &'a mut PgConnection, statement: &str) -> Result<Self, sqlx::Error> {
        let into = connection.copy_in_raw(statement).await?;
        let mut buffer = Vec::with_capacity(CHUNK + (CHUNK >> 3));
        buffer.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.extend_from_slice(&[0; 8]);
        Ok(Self { into, buffer })
    }

    /// Adds a row.
    pub(crate) async fn row<const N: usize>(&mut self, columns: [Column<'_>; N]) -> Result<(), sqlx::Error> {
        let too_large = |_| sqlx::Error::Encode("a row is too large to be copied".into());
        self.buffer.extend_from_slice(&i16::try_from(N).map_err(too_large)?.to_be_bytes());
        for column in columns {
            match column {
                Column::Int8(number) => {
                    self.buffer.extend_from_slice(&8_i32.to_be_bytes());
                    self.buffer.extend_from_slice(&number.to_be_bytes());
                }
                Column::Text(text) => {
                    self.buffer.extend_from_slice(&i32::try_from(text.len()).map_err(too_large)?.to_be_bytes());
                    self.buffer.extend_from_slice(text.as_bytes());
                }
                Column::Null => self.buffer.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        if self.buffer.len() >= CHUNK {
            self.into.send(self.buffer.as_slice()).await?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Sends the rest, and waits until all is there.
    pub(crate) async fn finish(mut self) -> Result<u64, sqlx::Error> {
        self.buffer.extend_from_slice(&(-1_i16).to_be_bytes());
        self.into.send(self.buffer.as_slice()).await?;
        self.into.finish().await
    }
}
