//! Identities whose values are sensitive: a store has keyed hashes of them.

use std::sync::{Arc, PoisonError};

use super::Sealer;
use crate::error::{Error, Result, VaultFault};
use crate::types::{Check, Identity, IdentityValue, LogId, Record, ResourceName};
use crate::vault::IndexKey;

impl Sealer {
    /// The key of a log's index.
    async fn index(&self, log: &LogId) -> Result<Arc<IndexKey>> {
        let known = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(log).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let key = Arc::new(self.vault.index_key(log).await?);
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).insert(log.clone(), Arc::clone(&key));
        Ok(key)
    }

    /// The key of a log's index, if one of these resources has an identity whose values are sensitive.
    pub(super) async fn index_of<'a>(
        &self,
        log: &LogId,
        resources: impl Iterator<Item = &'a ResourceName>,
    ) -> Result<Option<Arc<IndexKey>>> {
        let mut specs = resources.filter_map(|name| self.registry.resource(name.as_str()).ok());
        match specs.any(|spec| spec.sensitive_identities().next().is_some()) {
            true => self.index(log).await.map(Some),
            false => Ok(None),
        }
    }

    /// Puts keyed hashes in the place of values that are sensitive.
    pub(crate) async fn hash_identities(
        &self,
        log: &LogId,
        resource: &ResourceName,
        identities: &mut [IdentityValue],
    ) -> Result<()> {
        if identities.is_empty() {
            return Ok(());
        }
        let index = self.index_of(log, [resource].into_iter()).await?;
        self.hash_with(index.as_deref(), resource, identities)
    }

    pub(super) fn hash_with(
        &self,
        index: Option<&IndexKey>,
        resource: &ResourceName,
        identities: &mut [IdentityValue],
    ) -> Result<()> {
        let (Some(index), Ok(spec)) = (index, self.registry.resource(resource.as_str())) else { return Ok(()) };
        let sensitive: Vec<&str> = spec.sensitive_identities().collect();
        for identity in identities.iter_mut().filter(|identity| sensitive.contains(&identity.name.as_str())) {
            identity.value = index.hash(&[resource.as_str(), &identity.name, &identity.value])?;
        }
        Ok(())
    }

    /// An identity as the store has it.
    pub(crate) async fn hash_identity(&self, log: &LogId, identity: &Identity) -> Result<Identity> {
        let mut value = [IdentityValue { name: identity.name.clone(), value: identity.value.clone() }];
        self.hash_identities(log, &identity.resource, &mut value).await?;
        let [value] = value;
        Ok(value.of(&identity.resource))
    }

    /// Whether a record, opened, has this identity. It has not if its subject was forgotten, and it is not scrubbed yet.
    ///
    /// # Errors
    ///
    /// `Vault` with `Tampered` if it has another one.
    pub(crate) fn owns(&self, record: &Record, identity: &Identity) -> Result<bool> {
        let spec = self.registry.resource(record.key.resource.as_str())?;
        let own = (spec.identities)(&record.key.id, &record.attributes)?;
        match own.into_iter().find(|own| own.name == identity.name) {
            Some(own) if own.value == identity.value => Ok(true),
            Some(_) => {
                let message = format!("it is found by an {:?} that is not its own", identity.name);
                Err(Error::vault(VaultFault::Tampered, message).at(format!("the record {}", record.key)))
            }
            None => Ok(false),
        }
    }

    pub(super) async fn hash_checks(&self, log: &LogId, checks: &[Check]) -> Result<Vec<Check>> {
        let mut hashed = Vec::with_capacity(checks.len());
        for check in checks {
            hashed.push(match check {
                Check::Identity { identity, owner } => {
                    Check::Identity { identity: self.hash_identity(log, identity).await?, owner: owner.clone() }
                }
                other @ Check::Record { .. } => other.clone(),
            });
        }
        Ok(hashed)
    }
}
