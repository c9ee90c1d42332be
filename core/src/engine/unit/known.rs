//! What a unit of work knows of records: what it has read, and what it makes of them.

use super::Unit;
use crate::engine::resource::{Resource, key_of, name_of, typed};
use crate::error::{Error, ErrorKind, Result};
use crate::store::ResourceStoreExt;
use crate::types::{Expected, Identity, RecordKey, Revision, WriteState};

impl Unit {
    /// Reads a record, with this unit's changes. The commit checks that it is still the same.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`, `Rebuilding`; `Invalid` if the id is no record id.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub async fn get<R: Resource>(&mut self, id: &R::Id) -> Result<Option<R>> {
        let key = key_of::<R>(id)?;
        self.state(&key).await?.map(|state| typed(&key, &state.attributes)).transpose()
    }

    /// Reads the record that owns an identity, with this unit's changes. The commit checks that it is still the same, and
    /// still owns it; or that still none does.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub async fn find<R: Resource>(&mut self, name: &str, value: &str) -> Result<Option<R>> {
        let resource = name_of::<R>()?;
        let identity = Identity::new(resource.as_str(), name, value)?;
        let owns = |state: &WriteState| state.identities.iter().any(|own| own.name == name && own.value == value);
        let mine =
            self.written.iter().find(|(key, state)| key.resource == resource && state.as_ref().is_some_and(owns));
        if let Some((key, Some(state))) = mine {
            return typed(key, &state.attributes).map(Some);
        }
        let owner = match self.found.get(&identity) {
            Some(owner) => owner.clone(),
            None => {
                let record = self.engine.records()?.find(&self.log, &identity).await?;
                let owner = record.as_ref().map(|record| record.key.id.clone());
                self.found.insert(identity, owner.clone());
                if let Some(record) = record {
                    self.read.entry(record.key.clone()).or_insert(Some(record));
                }
                owner
            }
        };
        let Some(id) = owner else { return Ok(None) };
        let key = RecordKey { resource, id };
        // If this unit has taken the identity from the record, nobody owns it.
        if self.written.contains_key(&key) {
            return Ok(None);
        }
        self.state(&key).await?.map(|state| typed(&key, &state.attributes)).transpose()
    }

    /// Reads these records at once, so that they are not read one by one.
    pub(crate) async fn fetch(&mut self, mut keys: Vec<RecordKey>) -> Result<()> {
        keys.retain(|key| !self.read.contains_key(key) && !self.written.contains_key(key));
        let found = self.engine.records()?.get(&self.log, &keys).await?;
        self.read.extend(keys.into_iter().zip(found));
        Ok(())
    }

    /// What a record is for this unit.
    pub(super) async fn state(&mut self, key: &RecordKey) -> Result<Option<WriteState>> {
        if let Some(state) = self.written.get(key) {
            return Ok(state.clone());
        }
        if !self.read.contains_key(key) {
            let record = self.engine.records()?.get_one(&self.log, key).await?;
            self.read.insert(key.clone(), record);
        }
        let record = self.read.get(key).and_then(Option::as_ref);
        Ok(record
            .map(|record| WriteState { attributes: record.attributes.clone(), identities: record.identities.clone() }))
    }

    /// That this unit knows of no such record. Whether the store has one is seen at the commit.
    pub(super) fn expect_absent(&self, key: &RecordKey) -> Result<()> {
        match (self.written.get(key), self.read.get(key)) {
            (Some(Some(_)), _) => {
                let kind = ErrorKind::AlreadyExists { actual: Revision::ZERO };
                Err(Error::new(kind, format!("{key} was created before in this unit of work")))
            }
            (None, Some(Some(record))) => Expected::Absent.verify_write(key, Some(record.revision)),
            _ => Ok(()),
        }
    }

    pub(super) fn expected(&self, key: &RecordKey, created: bool) -> Expected {
        match (self.written.get(key), self.read.get(key)) {
            (Some(Some(_)), _) => Expected::Exists,
            (None, Some(Some(record))) => Expected::Revision(record.revision),
            (Some(None), _) | (None, Some(None)) => Expected::Absent,
            (None, None) if created => Expected::Absent,
            (None, None) => Expected::Exists,
        }
    }
}
