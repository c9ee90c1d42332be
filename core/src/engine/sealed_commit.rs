//! Commits on their way to the store: sealed, and sealed again if a key has changed meanwhile.

use super::log::Engine;
use crate::error::{Error, ErrorKind, Result, VaultFault};
use crate::types::{Commit, Committed, Subject};

/// A subject whose keys are changed all the time is sealed for so often.
const ATTEMPTS: usize = 16;

impl Engine {
    /// Makes a commit, sealed if there is a vault. `subjects` are those of its changes.
    pub(crate) async fn make_sealed<F, Fut>(
        &self,
        commit: Box<Commit>,
        subjects: &[Subject],
        make: F,
    ) -> Result<Committed>
    where
        F: Fn(Box<Commit>) -> Fut,
        Fut: Future<Output = Result<Committed>>,
    {
        let Some(sealer) = &self.sealer else { return make(commit).await };
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            // Of its size, it is kept apart: most logs have no vault.
            let (sealed, keys) = Box::pin(sealer.seal(&commit, subjects, attempt > 0)).await?;
            match make(Box::new(sealed)).await {
                Err(error) if *error.kind() == ErrorKind::Vault(VaultFault::KeyChanged) => {
                    sealer.vault.are_outdated(&keys);
                    last = Some(error);
                }
                Err(error) => return Err(error),
                Ok(committed) => {
                    sealer.vault.were_committed(keys);
                    return Ok(committed);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::vault(VaultFault::KeyChanged, "the keys are changed all the time")))
    }
}
