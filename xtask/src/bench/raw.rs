//! The raw engine: sled with the rows that Rekindle wrote, and nothing else done.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::report::Result;
use super::work::CACHE;

/// The rows that a commit writes, for each of many commits.
pub(crate) struct Rows {
    commits: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
    /// What is written anew with each batch, such as the head.
    each_batch: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Rows {
    /// Reads what `commits` commits have written from the folder of a store. Rows of one kind (by the first byte of the
    /// key) sort in the order of the commits, so each commit gets its share of every kind.
    pub(crate) fn read(folder: &Path, commits: usize) -> Result<Self> {
        let mut rows = Self { commits: vec![Vec::new(); commits], each_batch: Vec::new() };
        let db = open(folder)?;
        for tree in db.tree_names() {
            let mut kinds: Vec<Vec<(Vec<u8>, Vec<u8>)>> = vec![Vec::new(); 256];
            for row in db.open_tree(tree)?.iter() {
                let (key, value) = row?;
                if let Some(kind) = key.first() {
                    kinds[usize::from(*kind)].push((key.to_vec(), value.to_vec()));
                }
            }
            for kind in kinds.into_iter().filter(|kind| !kind.is_empty()) {
                if kind.len() < commits {
                    rows.each_batch.extend(kind);
                    continue;
                }
                let share = kind.len() / commits;
                for (at, row) in kind.into_iter().enumerate() {
                    rows.commits[(at / share).min(commits - 1)].push(row);
                }
            }
        }
        Ok(rows)
    }

    /// How many rows one commit writes.
    pub(crate) fn per_commit(&self) -> usize {
        self.commits.first().map_or(0, Vec::len)
    }

    /// Writes the first `commits`, `batch` of them in each atomic batch with one flush and one sync; gives the time.
    pub(crate) fn write(&self, commits: usize, batch: usize) -> Result<Duration> {
        let folder = tempfile::tempdir()?;
        let db = open(folder.path())?;
        let file = File::options().read(true).write(true).open(folder.path().join("db"))?;
        let started = Instant::now();
        for commits in self.commits[..commits].chunks(batch) {
            let mut batch = sled::Batch::default();
            for (key, value) in commits.iter().flatten().chain(&self.each_batch) {
                batch.insert(key.as_slice(), value.as_slice());
            }
            db.apply_batch(batch)?;
            db.flush()?;
            file.sync_data()?;
        }
        Ok(started.elapsed())
    }
}

pub(crate) fn open(folder: &Path) -> Result<sled::Db> {
    Ok(sled::Config::new().path(folder).cache_capacity(CACHE).flush_every_ms(None).open()?)
}
