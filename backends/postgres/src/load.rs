//! Loading records in bulk.
//!
//! What is new in its generation is copied: that is more than twice as fast as an upsert, and takes no look at what is there.
//! What was loaded before is written over.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::PoisonError;

use rekindle_core::store::LoadedRecord;
use rekindle_core::types::{Identity, IdentityValue, RecordId, RecordKey};
use rekindle_core::{Error, Result};
use sqlx::PgConnection;

use crate::copy::{Column, Copy};
use crate::error::{classify, damaged};
use crate::rebuild::Link;
use crate::rows::{self, Columns, bigint, identities_text};
use crate::sql::Sql;
use crate::store::Store;

/// So many hashes are remembered at the most, of records and of identities each.
const REMEMBERED: usize = 8_000_000;

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// One load: where it goes.
struct Loading<'a> {
    sql: &'a Sql,
    log: i64,
    generation: i64,
}

impl Store {
    /// The records of a rebuild; `None` if it is over.
    pub(crate) async fn loaded(&self, link: &Link, keys: &[RecordKey]) -> Result<Option<Vec<Option<LoadedRecord>>>> {
        let Some(mut session) = link.session().await else { return Ok(None) };
        let Some(session) = session.as_mut() else { return Ok(None) };
        let to =
            Loading { sql: &self.sql, log: link.log, generation: bigint(link.generation.get(), "the generation")? };
        to.loaded(&mut session.connection, keys).await.map(Some)
    }

    /// Writes records of a rebuild; `None` if it is over. It must be carried through.
    pub(crate) async fn load(&self, link: &Link, records: Vec<LoadedRecord>) -> Result<Option<()>> {
        let Some(mut session) = link.session().await else { return Ok(None) };
        let Some(session) = session.as_mut() else { return Ok(None) };
        check(&records)?;
        let to =
            Loading { sql: &self.sql, log: link.log, generation: bigint(link.generation.get(), "the generation")? };
        let (new, known) = link.split(last_states(records));
        let written = to.write(&mut session.connection, link, &new, &known).await;
        if written.is_err() {
            // What is remembered of it, and a transaction that it may be in, do not stand any more.
            link.end();
        }
        written.map(Some)
    }
}

fn check(records: &[LoadedRecord]) -> Result<()> {
    for record in records {
        bigint(record.revision.get(), "the revision")?;
        let Some(state) = &record.state else { continue };
        let nul = |identity: &IdentityValue| identity.name.contains('\0') || identity.value.contains('\0');
        if state.attributes.as_str().contains('\0') || state.identities.iter().any(nul) {
            return Err(Error::invalid(format!("{} holds text with a NUL character", record.key)));
        }
    }
    Ok(())
}

/// The last state of each record, in the order in which they came last: of two states of one record, the later one stays.
fn last_states(records: Vec<LoadedRecord>) -> Vec<LoadedRecord> {
    let last: HashMap<RecordKey, usize> =
        records.iter().enumerate().map(|(at, record)| (record.key.clone(), at)).collect();
    if last.len() == records.len() {
        return records;
    }
    records.into_iter().enumerate().filter(|(at, record)| last.get(&record.key) == Some(at)).map(|(_, r)| r).collect()
}

impl Link {
    /// Those that are new in the generation, and those that may be there.
    fn split(&self, records: Vec<LoadedRecord>) -> (Vec<LoadedRecord>, Vec<LoadedRecord>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.anything {
            return (Vec::new(), records);
        }
        let split = records.into_iter().partition(|record| loaded.records.insert(hash(&record.key)));
        if loaded.records.len() > REMEMBERED {
            loaded.anything = true;
            loaded.records = HashSet::new();
            loaded.identities = HashSet::new();
        }
        split
    }

    /// Whether an identity was not taken before in the generation.
    fn is_new(&self, identity: &Identity) -> bool {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !loaded.anything && loaded.identities.insert(hash(identity));
        if loaded.identities.len() > REMEMBERED {
            loaded.anything = true;
            loaded.identities = HashSet::new();
            loaded.records = HashSet::new();
        }
        new
    }
}

impl Loading<'_> {
    async fn loaded(&self, connection: &mut PgConnection, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let resources: Vec<&str> = keys.iter().map(|key| key.resource.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let found = sqlx::query(self.sql.loaded()).bind(self.log).bind(self.generation).bind(resources).bind(ids);
        let mut records = vec![None; keys.len()];
        for row in &found.fetch_all(connection).await.map_err(classify)? {
            let columns = Columns(row);
            let place = columns.place(0)?;
            let (Some(key), Some(record)) = (keys.get(place), records.get_mut(place)) else {
                return Err(damaged("a row is of nothing that was asked for"));
            };
            *record = Some(rows::loaded(columns, 1, key.clone())?);
        }
        Ok(records)
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        link: &Link,
        new: &[LoadedRecord],
        known: &[LoadedRecord],
    ) -> Result<()> {
        let mut owners = self.freed(connection, known).await?;
        for record in new.iter().chain(known) {
            for identity in record.state.iter().flat_map(|state| &state.identities) {
                owners.insert(identity.of(&record.key.resource), Some(record.key.id.clone()));
            }
        }
        if !new.is_empty() {
            self.copy_records(connection, new).await?;
        }
        if !known.is_empty() {
            self.upsert_records(connection, known).await?;
        }
        self.settle(connection, link, owners).await
    }

    /// The identities that records give up which were loaded before, and which they still own.
    async fn freed(
        &self,
        connection: &mut PgConnection,
        known: &[LoadedRecord],
    ) -> Result<HashMap<Identity, Option<RecordId>>> {
        if known.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<RecordKey> = known.iter().map(|record| record.key.clone()).collect();
        let before = self.loaded(connection, &keys).await?;
        let given_up: Vec<(Identity, RecordId)> = before
            .into_iter()
            .flatten()
            .flat_map(|record| {
                let LoadedRecord { key, state, .. } = record;
                let identities = state.map(|state| state.identities).unwrap_or_default();
                identities.into_iter().map(move |identity| (identity.of(&key.resource), key.id.clone()))
            })
            .collect();
        if given_up.is_empty() {
            return Ok(HashMap::new());
        }
        let part = |part: fn(&Identity) -> &str| -> Vec<&str> {
            given_up.iter().map(|(identity, _)| part(identity)).collect()
        };
        let rows = sqlx::query(self.sql.owners())
            .bind(self.log)
            .bind(self.generation)
            .bind(part(|identity| identity.resource.as_str()))
            .bind(part(|identity| &identity.name))
            .bind(part(|identity| &identity.value))
            .fetch_all(connection)
            .await
            .map_err(classify)?;
        let mut freed = HashMap::new();
        for row in &rows {
            let columns = Columns(row);
            let asked = given_up.get(columns.place(0)?);
            let (identity, id) = asked.ok_or_else(|| damaged("a row is of nothing that was asked for"))?;
            if columns.text(1)? == id.as_str() {
                freed.insert(identity.clone(), None);
            }
        }
        Ok(freed)
    }

    async fn copy_records(&self, connection: &mut PgConnection, records: &[LoadedRecord]) -> Result<()> {
        let mut sorted: Vec<&LoadedRecord> = records.iter().collect();
        sorted.sort_unstable_by(|record, other| record.key.cmp(&other.key));
        let mut copy = Copy::begin(connection, &self.sql.copy_records().0).await.map_err(classify)?;
        for record in sorted {
            let state = record.state.as_ref();
            let identities = state.map(|state| identities_text(&state.identities)).transpose()?.flatten();
            let columns = [
                Column::Int8(self.log),
                Column::Int8(self.generation),
                Column::Int8(bigint(record.revision.get(), "the revision")?),
                Column::Text(record.key.resource.as_str()),
                Column::Text(record.key.id.as_str()),
                state.map(|state| state.attributes.as_str()).into(),
                identities.as_deref().into(),
            ];
            copy.row(columns).await.map_err(classify)?;
        }
        copy.finish().await.map_err(classify)?;
        Ok(())
    }

    async fn upsert_records(&self, connection: &mut PgConnection, records: &[LoadedRecord]) -> Result<()> {
        let mut sorted: Vec<&LoadedRecord> = records.iter().collect();
        sorted.sort_unstable_by(|record, other| record.key.cmp(&other.key));
        let number = |record: &&LoadedRecord| bigint(record.revision.get(), "the revision");
        let revisions = sorted.iter().map(number).collect::<Result<Vec<_>>>()?;
        let state = |record: &&LoadedRecord| {
            record.state.as_ref().map(|state| identities_text(&state.identities)).transpose().map(Option::flatten)
        };
        let identities = sorted.iter().map(state).collect::<Result<Vec<_>>>()?;
        let resources: Vec<&str> = sorted.iter().map(|record| record.key.resource.as_str()).collect();
        let ids: Vec<&str> = sorted.iter().map(|record| record.key.id.as_str()).collect();
        let attributes: Vec<Option<&str>> =
            sorted.iter().map(|record| record.state.as_ref().map(|state| state.attributes.as_str())).collect();
        sqlx::query(self.sql.upsert_records())
            .bind(self.log)
            .bind(self.generation)
            .bind(revisions)
            .bind(resources)
            .bind(ids)
            .bind(attributes)
            .bind(identities)
            .execute(connection)
            .await
            .map_err(classify)?;
        Ok(())
    }

    /// Writes the owners of identities: those that nobody had are copied.
    async fn settle(
        &self,
        connection: &mut PgConnection,
        link: &Link,
        owners: HashMap<Identity, Option<RecordId>>,
    ) -> Result<()> {
        let mut sorted: Vec<(Identity, Option<RecordId>)> = owners.into_iter().collect();
        sorted.sort_unstable_by(|(identity, _), (other, _)| identity.cmp(other));
        let freed: Vec<&Identity> =
            sorted.iter().filter(|(_, owner)| owner.is_none()).map(|(identity, _)| identity).collect();
        let taken = sorted.iter().filter_map(|(identity, owner)| Some((identity, owner.as_ref()?)));
        let (new, known): (Vec<_>, Vec<_>) = taken.partition(|(identity, _)| link.is_new(identity));
        if !freed.is_empty() {
            let part =
                |part: fn(&Identity) -> &str| -> Vec<&str> { freed.iter().map(|identity| part(identity)).collect() };
            sqlx::query(self.sql.free_identities())
                .bind(self.log)
                .bind(self.generation)
                .bind(part(|identity| identity.resource.as_str()))
                .bind(part(|identity| &identity.name))
                .bind(part(|identity| &identity.value))
                .execute(&mut *connection)
                .await
                .map_err(classify)?;
        }
        if !known.is_empty() {
            let part = |part: fn(&Identity) -> &str| -> Vec<&str> {
                known.iter().map(|(identity, _)| part(identity)).collect()
            };
            let owners: Vec<&str> = known.iter().map(|(_, owner)| owner.as_str()).collect();
            sqlx::query(self.sql.take_identities())
                .bind(self.log)
                .bind(self.generation)
                .bind(part(|identity| identity.resource.as_str()))
                .bind(part(|identity| &identity.name))
                .bind(part(|identity| &identity.value))
                .bind(owners)
                .execute(&mut *connection)
                .await
                .map_err(classify)?;
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut copy = Copy::begin(connection, &self.sql.copy_identities().0).await.map_err(classify)?;
        for (identity, owner) in new {
            let columns = [
                Column::Int8(self.log),
                Column::Int8(self.generation),
                Column::Text(identity.resource.as_str()),
                Column::Text(&identity.name),
                Column::Text(&identity.value),
                Column::Text(owner.as_str()),
            ];
            copy.row(columns).await.map_err(classify)?;
        }
        copy.finish().await.map_err(classify)?;
        Ok(())
    }
}
