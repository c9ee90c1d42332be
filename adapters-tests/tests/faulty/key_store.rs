//! The faults of the vault's keys.

use std::collections::HashSet;

use async_trait::async_trait;
use rekindle_core::Result;
use rekindle_core::store::decide::key_changed;
use rekindle_core::store::{EventStore, EventStoreExt, KeyStore, LogState};
use rekindle_core::types::{Commit, KeyId, KeyRow, KeyVersion, KeyWrite, LogId, Page, Subject};

use super::{Fault, Faulty};

#[async_trait]
impl KeyStore for Faulty {
    async fn keys(&self, log: &LogId, subjects: &[Subject]) -> Result<Vec<Option<KeyRow>>> {
        let mut subjects = subjects.to_vec();
        if self.has(Fault::KeyRowsSorted) {
            subjects.sort();
        }
        let rows = self.inner.keys(&self.log(log), &subjects).await?;
        Ok(rows.into_iter().map(|row| row.and_then(|row| self.shown_keys(log, row))).collect())
    }

    async fn keys_by_id(&self, log: &LogId, ids: &[KeyId]) -> Result<Vec<Option<KeyRow>>> {
        let rows = self.inner.keys_by_id(&self.log(log), ids).await?;
        let memory = self.memory();
        let found = rows.into_iter().zip(ids).map(|(row, id)| match self.fault {
            Fault::KeyRowsCopiedById => memory.rows_by_id.get(&(log.clone(), *id)).cloned(),
            Fault::KeysFoundByNewestIdOnly => {
                row.filter(|row| memory.newest_ids[&(log.clone(), row.subject.clone())].contains(id))
            }
            _ => row,
        });
        let found: Vec<Option<KeyRow>> = found.collect();
        drop(memory);
        Ok(found.into_iter().map(|row| row.and_then(|row| self.shown_keys(log, row))).collect())
    }

    async fn list_keys(&self, log: &LogId, after: Option<&Subject>, limit: usize) -> Result<Page<KeyRow, Subject>> {
        let mut page = self.inner.list_keys(&self.log(log), after, limit).await?;
        page.items = page.items.into_iter().filter_map(|row| self.shown_keys(log, row)).collect();
        if self.has(Fault::KeyListCutShort) {
            page.next = None;
        }
        Ok(page)
    }

    async fn logs_with_keys(&self) -> Result<Vec<LogId>> {
        if self.has(Fault::EveryLogHasKeys) {
            return Ok(self.memory().logs.keys().cloned().collect());
        }
        self.inner.logs_with_keys().await
    }
}

impl Faulty {
    /// Keys as this store shows them.
    fn shown_keys(&self, log: &LogId, mut row: KeyRow) -> Option<KeyRow> {
        match self.fault {
            Fault::KeysLostWithClear if self.memory().cleared.contains(log) => return None,
            Fault::EpochLost => row.epoch = 0,
            Fault::KeyNumbersAsDoubles if row.version > 1 << 53 => row.version &= !1,
            Fault::KeyBodiesAsText => row.body = String::from_utf8_lossy(&row.body).into_owned().into_bytes(),
            Fault::KeyBodiesCut => row.body.truncate(1 << 16),
            _ => {}
        }
        Some(row)
    }

    /// Breaks what a commit has of keys before it is made.
    pub(super) fn change_keys(&self, commit: &mut Commit) {
        match self.fault {
            Fault::NoKeysDropsThem => {
                commit.keys.clear();
                commit.guards.clear();
            }
            Fault::GuardsIgnored => commit.guards.clear(),
            Fault::KeysMended => {
                let mut known = HashSet::new();
                commit.keys.retain(|write| known.insert(write.row.subject.clone()));
                commit.guards.retain(|guard| known.insert(guard.subject.clone()));
                for KeyWrite { expected, row, .. } in &mut commit.keys {
                    row.version = row.version.max(*expected + 1);
                }
            }
            Fault::EveryWriteIsANewEpoch => {
                commit.keys.iter_mut().for_each(|write| write.row.epoch = write.row.version);
            }
            Fault::SubjectsInLowercase => {
                for KeyWrite { row, .. } in &mut commit.keys {
                    row.subject = Subject::new(row.subject.as_str().to_lowercase()).unwrap();
                }
            }
            _ => {}
        }
    }

    /// Breaks the same while it is made.
    pub(super) async fn prepare_keys(&self, commit: &mut Commit) -> Result<()> {
        match self.fault {
            Fault::KeyVersionsIgnored => self.expect_what_is_there(commit).await,
            Fault::KeysCheckedTooEarly => {
                for guard in &commit.guards {
                    if self.stored(&commit.log, &guard.subject).await?.epoch != guard.epoch {
                        return Err(key_changed(&guard.subject));
                    }
                }
                for KeyWrite { expected, row, .. } in &commit.keys {
                    if self.stored(&commit.log, &row.subject).await?.version != *expected {
                        return Err(key_changed(&row.subject));
                    }
                }
                tokio::task::yield_now().await;
                commit.guards.clear();
                self.expect_what_is_there(commit).await
            }
            Fault::KeysMakeLive if commit.is_of_keys() => {
                if let LogState::Rewound(at) = self.inner.head(&commit.log).await?.state {
                    commit.accepts = Some(at);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Remembers what a commit has written, or writes what it must not.
    pub(super) async fn after_keys(&self, commit: Commit, succeeded: bool) {
        if succeeded {
            let mut memory = self.memory();
            for KeyWrite { row, new_ids, .. } in commit.keys.iter().filter(|write| !write.new_ids.is_empty()) {
                memory.newest_ids.insert((commit.log.clone(), row.subject.clone()), new_ids.clone());
                memory.rows_by_id.extend(new_ids.iter().map(|id| ((commit.log.clone(), *id), row.clone())));
            }
        } else if self.has(Fault::KeysOfFailedCommitWritten) {
            let trace = Commit { keys: commit.keys, ..Commit::new(commit.log, commit.lock) };
            let _answer = self.inner.commit_one(trace).await;
        }
    }

    async fn expect_what_is_there(&self, commit: &mut Commit) -> Result<()> {
        for KeyWrite { expected, row, .. } in &mut commit.keys {
            *expected = self.stored(&commit.log, &row.subject).await?.version;
            row.version = row.version.max(*expected + 1);
        }
        Ok(())
    }

    async fn stored(&self, log: &LogId, subject: &Subject) -> Result<KeyVersion> {
        let rows = self.inner.keys(log, std::slice::from_ref(subject)).await?;
        Ok(rows[0].as_ref().map_or(KeyVersion::default(), KeyRow::at))
    }
}
